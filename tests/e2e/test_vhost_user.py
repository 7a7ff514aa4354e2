"""A pod whose card a switch in user space serves (tests/fakes/vhost_user), through its life."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import lan as lans
from tests.e2e.conftest import Host, wait_until
from tests.e2e.test_network import SERVE, cnm, fetch, sh
from tests.fakes import programs
from vctui.linux import netns, taps

pytestmark = [pytest.mark.vm, pytest.mark.root]

NET = f"10.77.{os.getpid() % 250}"
"""Sockets have one place for the whole host, by the address alone."""
HERE, FIRST, SECOND = (f"{NET}.{number}" for number in (1, 2, 3))
CARRIER = "cat /sys/class/net/eth0/carrier"
Serve = Callable[[str], subprocess.Popen[bytes]]


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[lans.Lan]:
    with lans.made(tmp_path, "lan", f"{HERE}/24") as made:
        yield made


@pytest.fixture
def serve(lan: lans.Lan, tmp_path: Path) -> Iterator[Serve]:
    """Starts a switch that serves the card with an address; its other port is on the network."""
    program = programs.executable(tmp_path, "vhost_user")
    switches: list[subprocess.Popen[bytes]] = []

    def start(address: str) -> subprocess.Popen[bytes]:
        folder, port = socket(address).parent, f"switch{address[-1]}"
        folder.mkdir(mode=0o755, exist_ok=True)
        if port not in lan.inside(lans.link_names):
            lan.tap(port)
        words = [program, socket(address), port]
        switches.append(lan.inside(subprocess.Popen, words, stdout=subprocess.PIPE))
        stdout = switches[-1].stdout
        assert stdout is not None
        assert stdout.readline() == b"ready\n"
        return switches[-1]

    yield start
    for switch in switches:
        end(switch)
    for address in (FIRST, SECOND):
        shutil.rmtree(socket(address).parent, ignore_errors=True)


def socket(address: str) -> Path:
    return Path(f"/tmp/vhostuser_{address}/vhu.sock")


def end(switch: subprocess.Popen[bytes]) -> None:
    """By SIGKILL: it has no time to take its socket away."""
    switch.kill()
    switch.wait()
    if switch.stdout is not None:
        switch.stdout.close()


def give(namespace: Path, name: str, address: str) -> None:
    """An interface that only says what the guest's is to be like."""
    netns.inside(namespace, taps.create, name, multi_queue=False)
    mac = f"02:00:00:00:53:0{address[-1]}"
    netns.inside(namespace, lans._configure, name, (f"{address}/24",), (), 1400, mac)


@pytest.mark.timeout(180)
def test_a_card_that_a_program_serves(host: Host, lan: lans.Lan, serve: Serve):
    namespace = lan.namespace("pod")
    give(namespace, "eth0", FIRST)
    before = lans.picture(namespace)
    switch = serve(FIRST)
    host.do("pod", "run", host.pod("served", ("main", SERVE), **cnm(namespace)))
    assert fetch(lan, f"http://{FIRST}:8080/") == "page of served\n"
    link = sh(host, "served", f"ip addr show eth0; ping -c 1 -s 1372 {HERE}")
    for wanted in ("mtu 1400", "02:00:00:00:53:02", f"inet {FIRST}/24", " 0% packet loss"):
        assert wanted in link
    host.do("pod", "network", "served", "--check")

    give(namespace, "eth1", SECOND)
    second = serve(SECOND)
    host.do("pod", "connect", "served")
    assert fetch(lan, f"http://{SECOND}:8080/") == "page of served\n"
    host.do("pod", "disconnect", "served", "eth1")
    assert "eth1" not in sh(host, "served", "ip link")
    end(second)

    end(switch)
    wait_until(lambda: sh(host, "served", CARRIER) == "0\n", "no carrier")
    said = host.refuse("pod", "network", "served", "--check")["message"]
    assert "'eth0' is to be served by vhost-user on" in said
    assert "no program listens there; start the one that did" in said
    switch = serve(FIRST)
    wait_until(lambda: sh(host, "served", CARRIER) == "1\n", "a carrier")
    assert fetch(lan, f"http://{FIRST}:8080/") == "page of served\n"

    host.do("pod", "stop", "served")
    netns.inside(namespace, lans._delete, "eth1")
    assert lans.picture(namespace) == before
    end(switch)
    assert host.refuse("pod", "start", "served")["message"] == said
    assert host.status("served")["state"] == "stopped"
    host.do("pod", "delete", "served")
    assert lans.picture(namespace) == before
    assert socket(FIRST).exists()
