"""The CNI driver: what plugins are told, and what becomes of one that misbehaves."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import msgspec
import pytest

from tests.drivers.networks import scripted
from vctui.errors import InvalidConfig, MissingProgram, NetworkError, NotFound
from vctui.linux import process
from vctui.model.kinds import PortProtocol
from vctui.model.network import Attachment, Bandwidth, Dns, NetworkConfig, PortMapping

NETNS = Path("/run/netns/web")


@pytest.fixture
def host(tmp_path: Path) -> scripted.Host:
    return scripted.Host(tmp_path)


def is_gone(pid: int) -> bool:
    try:
        return not process.is_alive(pid, process.start_time(pid))
    except ProcessLookupError:
        return True


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nothing of ours happens that could be awaited
            await asyncio.sleep(0.005)


async def test_plugins_are_told_in_order_and_in_reverse(host):
    host.plugin("first")
    host.plugin("second", add="cat >/dev/null; " + scripted.GOOD)
    host.network("a", "first", "second")
    host.network("b", "first")
    driver = host.driver()
    planned = driver.plan(NetworkConfig(networks=("b", "a")))
    assert [(one.network, one.interface) for one in planned] == [("b", "eth0"), ("a", "eth1")]
    joined = await driver.prepare("web", NETNS, planned)
    assert joined[0].dns == Dns(nameservers=("10.1.0.1",), search=("pods.example",))
    await driver.check("web", NETNS, joined, ())
    await driver.remove("web", NETNS, joined)
    assert host.order() == [
        ("ADD", "first"),
        ("ADD", "first"),
        ("ADD", "second"),
        ("CHECK", "first"),
        ("CHECK", "first"),
        ("CHECK", "second"),
        ("DEL", "second"),
        ("DEL", "first"),
        ("DEL", "first"),
    ]
    calls = host.calls()
    assert {call.container for call in calls} == {"web"}
    assert {call.netns for call in calls} == {str(NETNS)}
    assert [call.interface for call in calls[:3]] == ["eth0", "eth1", "eth1"]
    assert "prevResult" not in calls[1].stdin
    for call in calls[2:]:
        assert call.stdin["prevResult"]["ips"][0]["address"] == "10.1.0.5/16"


async def test_what_a_pod_asks_for_is_told_to_the_first_network(host):
    host.plugin("first")
    takes = {"portMappings": True, "ips": True, "mac": True, "bandwidth": True}
    host.network("a", "first", capabilities=takes)
    host.network("b", "first", capabilities=takes)
    driver = host.driver()
    config = NetworkConfig(
        networks=("a", "b"),
        port_mappings=(
            PortMapping(host_port=8080, container_port=80),
            PortMapping(host_port=53, container_port=53, protocol=PortProtocol.UDP, host_ip="::1"),
        ),
        ips=("10.1.0.9/16",),
        mac="02:00:00:00:00:09",
        bandwidth=Bandwidth(ingress_rate=8000, egress_rate=9000, egress_burst=100),
    )
    planned = driver.plan(config)
    assert [one.ports for one in planned] == [config.port_mappings, ()]
    joined = await driver.prepare("web", NETNS, planned)
    await driver.remove("web", NETNS, joined)
    of_a, of_b, del_b, del_a = (call.stdin.get("runtimeConfig") for call in host.calls())
    assert of_a == {
        "portMappings": [
            {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
            {"hostPort": 53, "containerPort": 53, "protocol": "udp", "hostIP": "::1"},
        ],
        "ips": ["10.1.0.9/16"],
        "mac": "02:00:00:00:00:09",
        "bandwidth": {
            "ingressRate": 8000,
            "ingressBurst": 8000,
            "egressRate": 9000,
            "egressBurst": 100,
        },
    }
    assert (of_b, del_b, del_a) == (None, None, of_a)


async def test_what_no_plugin_of_the_network_can_take_is_refused(host):
    host.plugin("first")
    file = host.network("a", "first", capabilities={"portMappings": False})
    config = NetworkConfig(port_mappings=(PortMapping(host_port=80, container_port=80),))
    with pytest.raises(InvalidConfig) as refused:
        host.driver().plan(config)
    assert str(refused.value) == (
        "network_config.port_mappings needs a plugin with the capability portMappings in network "
        f"'a'; add one, as portmap, to {file}, or leave the key out"
    )


async def test_what_was_joined_is_left_though_its_file_has_changed(host):
    host.plugin("first")
    file = host.network("a", "first", ipam={"type": "first"})
    driver = host.driver()
    joined = await driver.prepare("web", NETNS, driver.plan(NetworkConfig()))
    file.unlink()
    kept = msgspec.json.decode(msgspec.json.encode(joined), type=tuple[Attachment, ...])
    await driver.remove("web", None, kept)
    assert host.order() == [("ADD", "first"), ("DEL", "first")]
    told = host.calls()[1]
    assert told.netns == ""
    assert told.stdin["ipam"] == {"type": "first"}


async def test_old_versions_are_told_no_results_on_delete(host):
    host.plugin("first")
    host.network("a", "first", version="0.3.1")
    driver = host.driver()
    joined = await driver.prepare("web", NETNS, driver.plan(NetworkConfig()))
    await driver.check("web", NETNS, joined, ())
    await driver.remove("web", NETNS, joined)
    assert host.order() == [("ADD", "first"), ("DEL", "first")]
    assert "prevResult" not in host.calls()[1].stdin


def test_the_default_is_the_first_that_is_not_loopback(host):
    for name in ("loopback", "first"):
        host.plugin(name)
    host.network("10-lo", "loopback")
    host.network("20-pods", "first")
    host.network("30-other", "first")
    assert host.driver().plan(NetworkConfig())[0].network == "20-pods"
    assert host.driver(default="30-other").plan(NetworkConfig())[0].network == "30-other"


def test_interfaces_that_are_there_keep_their_names(host):
    host.plugin("first")
    host.network("a", "first")
    config = NetworkConfig(networks=("a", "a"))
    planned = host.driver().plan(config, ("lo", "eth0", "eth2"))
    assert [one.interface for one in planned] == ["eth1", "eth3"]


def test_a_network_that_is_not_there_is_named(host):
    with pytest.raises(NotFound, match="make one with `vctui network init`"):
        host.driver().plan(NetworkConfig())
    host.plugin("first")
    host.network("frontend", "first")
    with pytest.raises(NotFound, match="did you mean 'frontend'"):
        host.driver().plan(NetworkConfig(networks=("frontent",)))
    with pytest.raises(NotFound, match="known are: frontend"):
        host.driver().plan(NetworkConfig(networks=("x",)))


def test_a_file_that_cannot_be_used_is_named_where_a_network_is_missing(host):
    host.networks.mkdir()
    (host.networks / "10-a.conf").write_text("{")
    os.mkfifo(host.networks / "20-b.conf")
    with pytest.raises(NotFound, match=r"10-a\.conf is not valid JSON") as caught:
        host.driver().plan(NetworkConfig())
    assert str(caught.value).count("\n") == 0


def test_a_plugin_that_is_not_there_is_named_with_its_package(host):
    host.plugin("first")
    host.network("a", "first", ipam={"type": "host-local"})
    with pytest.raises(MissingProgram, match="needs the CNI plugin 'host-local'") as caught:
        host.driver().plan(NetworkConfig())
    assert "apt-get install containernetworking-plugins" in str(caught.value)


@pytest.mark.parametrize(
    ("add", "words"),
    [
        (scripted.FAILS, "failed: no such subnet; line 3 (code 7); correct the network's file"),
        (scripted.PANICS, "failed with status 2; its last words: panic: oops"),
        (scripted.KILLED, "was ended by signal 11; it said nothing"),
        (scripted.PRINTS_RUBBISH, "printed no document of CNI"),
        (scripted.PRINTS_NOTHING, "printed nothing; install another second"),
        (scripted.FLOODS, "printed more than 262144 bytes"),
    ],
)
async def test_a_plugin_that_fails_is_said_in_one_sentence_and_its_list_is_left(host, add, words):
    host.plugin("first")
    host.plugin("second", add=add, delete="exit 3")
    host.network("a", "first", "second")
    driver = host.driver()
    planned = driver.plan(NetworkConfig())
    with pytest.raises(NetworkError) as caught:
        await driver.prepare("web", NETNS, planned)
    assert str(caught.value).startswith("the CNI plugin second (ADD) of network 'a' ")
    assert words in str(caught.value)
    assert str(caught.value).isprintable()
    with pytest.raises(NetworkError, match="second \\(DEL\\)"):
        await driver.remove("web", NETNS, planned)
    assert host.order()[2:] == [("DEL", "second"), ("DEL", "first")]


async def test_a_plugin_that_hangs_is_killed_with_its_children(host):
    script = host.plugin("first", add=scripted.HANGS)
    host.network("a", "first")
    driver = host.driver(timeout=0.3)
    with pytest.raises(NetworkError, match=r"was killed, as it took more than 0\.3 s"):
        await driver.prepare("web", NETNS, driver.plan(NetworkConfig()))
    child = int(script.with_name("first.child").read_text())
    await until(lambda: is_gone(child))


async def test_a_cancelled_call_leaves_no_plugin(host):
    script = host.plugin("first", add=scripted.HANGS)
    host.network("a", "first")
    driver = host.driver()
    call = asyncio.create_task(driver.prepare("web", NETNS, driver.plan(NetworkConfig())))
    note = script.with_name("first.child")
    await until(lambda: note.exists() and note.read_text().strip())
    call.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await call
    await until(lambda: is_gone(int(note.read_text())))


async def test_a_call_of_an_engine_that_died_is_ended_before_anything_is_taken_away(host):
    """Its ADD could go on after our DEL, and nobody would take away what it makes."""
    script = host.plugin("first", add=scripted.HANGS)
    host.network("a", "first")
    driver = host.driver()
    planned = driver.plan(NetworkConfig())
    told = {
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": "web",
        "CNI_NETNS": str(NETNS),
        "CNI_IFNAME": "eth0",
    }
    (host.folder / "request").write_text("{}")
    with (host.folder / "request").open("rb") as request:
        left = process.spawn_detached((script,), stdin=request, env={**os.environ, **told})
    note = script.with_name("first.child")
    await until(lambda: note.exists() and note.read_text().strip())
    await driver.remove("web", NETNS, planned)
    assert not process.is_alive(left.pid, left.started)
    await until(lambda: is_gone(int(note.read_text())))
    assert host.order()[-1] == ("DEL", "first")


async def test_another_pods_calls_go_on(host):
    host.plugin("first")
    host.network("a", "first")
    driver = host.driver()
    other = process.spawn_detached(
        ("sleep", "60"), env={"CNI_CONTAINERID": "other", "CNI_NETNS": str(NETNS)}
    )
    await driver.remove("web", NETNS, driver.plan(NetworkConfig()))
    assert process.is_alive(other.pid, other.started)
    await process.terminate(other.pid, other.started, timeout=0)


async def test_plugins_see_no_variables_of_cni_but_ours(host, monkeypatch):
    monkeypatch.setenv("CNI_ARGS", "K8S=1")
    monkeypatch.setenv("KEPT", "yes")
    script = host.plugin("first", add=f'env >"$0.env"; {scripted.GOOD}')
    host.network("a", "first")
    driver = host.driver()
    await driver.prepare("web", NETNS, driver.plan(NetworkConfig()))
    seen = script.with_name("first.env").read_text().splitlines()
    assert "CNI_ARGS=IgnoreUnknown=1" in seen
    assert "KEPT=yes" in seen
    assert f"CNI_PATH={host.folder / 'nowhere'}:{host.programs}" in seen
