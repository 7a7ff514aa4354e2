"""Pods on CNI networks without machines: bad plugins, engines that are killed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import cnihost
from tests.e2e.cnihost import CniHost
from tests.e2e.conftest import wait_until
from vctui.linux import process

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not (cnihost.PLUGINS / "bridge").exists(), reason=cnihost.MISSING),
]


PASSES = """sed 's/.*"prevResult"://; s/}$//'"""
"""A plugin that changes nothing."""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[CniHost]:
    environment = {name: value for name, value in os.environ.items() if name[:6] != "VCTUI_"}
    with cnihost.made(tmp_path, tmp_path / "cache", environment) as made:
        yield made


def is_running(pid: int) -> bool:
    try:
        return process.is_alive(pid, process.start_time(pid))
    except ProcessLookupError:
        return False


def pod(host: CniHost, pod_id: str, *networks: str) -> str:
    return host.pod(
        pod_id,
        ("main", "sleep 1000"),
        hypervisor_type="mock",
        agent_type="noop",
        network_model="CNI",
        network_config={"networks": networks},
    )


def warm_up(host: CniHost, network: str) -> dict[str, object]:
    """The host after its first pod on the network: the bridge is there, and stays."""
    host.do("pod", "run", pod(host, "first", network))
    host.do("pod", "delete", "first")
    return host.picture()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("""echo '{"code": 7, "msg": "broken"}'; exit 1""", "failed: broken (code 7)"),
        ("[ $CNI_COMMAND = ADD ] || exit 0; echo rubbish", "printed no document of CNI"),
        ("[ $CNI_COMMAND = ADD ] || exit 0; kill -9 $$", "was ended by signal 9"),
    ],
)
def test_a_bad_plugin_leaves_nothing_and_the_pod_can_be_run_again(
    host: CniHost, script: str, words: str
) -> None:
    host.bridge("pods", "10.55.0.0/24", "extra")
    host.script("extra", PASSES)
    before = warm_up(host, "pods")
    host.script("extra", script)
    error = host.refuse("pod", "run", pod(host, "web", "pods"))
    assert error["kind"] == "network"
    assert words in error["message"]
    if "CNI_COMMAND" not in script:  # it does not even let go: that can be done later
        assert host.refuse("pod", "delete", "web")["kind"] == "network"
        host.script("extra", PASSES)
        host.do("pod", "delete", "web")
    assert host.ask("pod", "list") == []
    assert host.picture() == before


@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_an_engine_that_is_killed_in_the_middle_of_a_plugin_is_cleaned_up_after(
    host: CniHost, command: str
) -> None:
    host.bridge("pods", "10.55.0.0/24", "slow")
    host.script("slow", PASSES)
    before = warm_up(host, "pods")
    reached = host.root / "reached"
    slow = f"""if [ $CNI_COMMAND = {command} ] && [ ! -e {reached} ]; then
        echo $$ >{reached}.new; mv {reached}.new {reached}; exec sleep 100
    fi
    {PASSES}"""
    if command == "DEL":
        host.do("pod", "run", pod(host, "web", "pods"))
    host.script("slow", slow)
    words = ("run", pod(host, "web", "pods")) if command == "ADD" else ("delete", "web")
    engine = host.start("pod", *words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(reached.exists, "the plugin is reached")
    engine.kill()
    engine.wait()
    plugin = int(reached.read_text())
    assert host.picture() != before
    left = host.ask("pod", "list")
    assert not is_running(plugin)
    if command == "DEL":
        assert left == []
    else:
        assert left[0]["state"] == "stopped"
        assert left[0]["network"] is None
        host.do("pod", "start", "web")
        host.do("pod", "delete", "web")
    assert host.picture() == before
