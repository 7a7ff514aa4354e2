"""Pods that begin as a saved guest: quick, and each of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Host, wait_until
from vctui.drivers.agents.kata.agent import KataAgent
from vctui.engine import filling
from vctui.engine.runtime import Runtime
from vctui.linux import process
from vctui.settings import Settings
from vctui.settings import load as load_settings
from vctui.wire.pb import agent_pb2

pytestmark = pytest.mark.vm

IDLE = ("idle", "sleep 100000")
FOLDERS = ("run_dir", "state_dir", "cache_dir")
FACTS = (
    "cat /proc/sys/kernel/random/boot_id; head -c 16 /dev/urandom | od -An -tx1; hostname; "
    "cat /sys/class/dmi/id/product_uuid 2>/dev/null || echo no identity; date +%s"
)


@pytest.fixture(scope="module")
def apart(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A vctui with templates of its own, which others neither build nor use."""
    folder = tmp_path_factory.mktemp("templates")
    config = folder / "config.toml"
    config.write_text(f'[template]\nmemory_dir = "{folder}"\n')
    made = replace(host, environment={**host.environment, "VCTUI_CONFIG": str(config)})
    made.environment["VCTUI_TEMPLATES"] = str(folder)
    yield made
    shutil.rmtree(folder)


def shelf(host: Host) -> Path:
    """Where its templates stand."""
    [user] = Path(host.environment["VCTUI_TEMPLATES"]).glob("vctui-*")
    [folder] = user.iterdir()
    return folder


def test_two_pods_of_one_template_differ_as_they_must(apart: Host):
    for pod in ("one", "two"):
        apart.do("pod", "run", apart.pod(pod, IDLE))
    [template] = apart.ask("guest", "template", "list")
    facts = {}
    for pod in ("one", "two"):
        machine = apart.status(pod)["machine"]
        assert machine["template"] == template["key"]
        assert "restored from a template" in machine["boot"]
        words = ("container", "exec", pod, "idle", "--", "sh", "-c", FACTS)
        facts[pod] = apart.do(*words).splitlines()
        assert facts[pod][2:4] == [pod, "no identity"]
        assert abs(int(facts[pod][4]) - time.time()) < 5
    assert facts["one"][0] != facts["two"][0], "the boot id"
    assert facts["one"][1] != facts["two"][1], "random bytes"
    console = apart.do("logs", "two", "--source", "console")
    assert "Linux version" in console
    assert "saved as a template" in console
    assert "tsc_early_khz=" in console, "its clock does not depend on how busy the host was"
    assert apart.do("guest", "template", "remove", template["key"][:6])
    assert apart.ask("guest", "template", "list") == []
    for pod in ("one", "two"):  # they have all they need
        assert apart.do("container", "exec", pod, "idle", "--", "echo", "on") == "on\n"
        apart.do("pod", "delete", pod)
    assert apart.left_over() == []


def test_a_pod_that_cannot_begin_as_one_boots_and_says_why(apart: Host):
    config = {"kernel_params": [{"key": "vctui.test", "value": "1"}]}
    started = apart.ask("pod", "run", "--trace", apart.pod("cold", IDLE, hypervisor_config=config))
    machine = apart.status("cold")["machine"]
    assert machine["template"] == ""
    assert "booted cold" in machine["boot"]
    assert machine["boot"].endswith("no template, as it has kernel parameters of its own")
    assert machine["boot"] in apart.do("pod", "status", "cold")
    steps = {step["name"]: step for step in started["trace"]["steps"]}
    kernel, waiting = steps["kernel"], steps["wait for the agent"]
    assert kernel["where"] == "guest"
    assert steps["agent: imports"]["begin"] > kernel["begin"] + kernel["took"] / 2
    assert 0 < kernel["took"] < waiting["took"] + 0.2
    assert waiting["begin"] - 0.5 < kernel["begin"] < waiting["begin"] + waiting["took"]
    apart.do("pod", "delete", "cold")


def test_a_larger_pod_grows_from_the_template_of_the_usual_size(apart: Host):
    vcpus = min(2, os.cpu_count() or 1)
    file = apart.pod("large", IDLE, vm_config={"vcpus": vcpus, "memory": 512})
    apart.do("pod", "run", file)
    [template] = apart.ask("guest", "template", "list")
    assert (template["vcpus"], template["memory"]) == (1, 256)
    machine = apart.status("large")["machine"]
    assert machine["template"] == template["key"]
    assert (machine["vcpus"], machine["memory"]) == (vcpus, 512)
    facts = "grep -c ^processor /proc/cpuinfo; grep MemTotal /proc/meminfo"
    seen = apart.do("container", "exec", "large", "idle", "--", "sh", "-c", facts).split()
    assert int(seen[0]) == vcpus
    assert int(seen[2]) > 440 * 1024
    apart.do("pod", "delete", "large")


def test_builders_that_are_killed_leave_nothing_and_two_at_once_build_once(apart: Host):
    for template in apart.ask("guest", "template", "list"):
        apart.do("guest", "template", "remove", template["key"])
    building = apart.start("guest", "template", "build")
    drafts = lambda: list(Path(apart.environment["VCTUI_TEMPLATES"]).glob("*/*/*.draft"))  # noqa: E731
    wait_until(lambda: drafts() and process.find_by_argument(drafts()[0]), "the builder's QEMU")
    [draft] = drafts()
    os.kill(building.pid, signal.SIGKILL)
    building.communicate(timeout=20)
    left = process.find_by_argument(draft)
    assert left, "a killed builder's machine goes on until somebody looks"
    apart.do("pod", "list")
    assert not draft.exists()
    assert process.find_by_argument(draft) == []
    builders = [apart.start("guest", "template", "build") for _ in range(2)]
    said = [builder.communicate(timeout=60) for builder in builders]
    assert [builder.returncode for builder in builders] == [0, 0], said
    assert sum("building a template" in err for _, err in said) <= 1
    assert len(apart.ask("guest", "template", "list")) == 1


def test_a_damaged_template_is_built_anew(apart: Host):
    apart.do("guest", "template", "build")
    [template] = apart.ask("guest", "template", "list")
    state = shelf(apart) / template["key"] / "state"
    state.write_bytes(state.read_bytes()[:-1])
    assert apart.ask("guest", "template", "list") == []
    apart.do("pod", "run", apart.pod("again", IDLE))
    [anew] = apart.ask("guest", "template", "list")
    assert apart.status("again")["machine"]["template"] == anew["key"] == template["key"]
    assert anew["created"] > template["created"]
    apart.do("pod", "delete", "again")


def test_where_there_is_no_room_for_a_template_pods_boot(apart: Host, tmp_path: Path):
    config = tmp_path / "config.toml"
    config.write_text(f'[template]\nmemory_dir = "{tmp_path}"\nmax_memory = 100\n')
    small = replace(apart, environment={**apart.environment, "VCTUI_CONFIG": str(config)})
    assert "max_memory" in small.refuse("guest", "template", "build")["message"]
    little = small.refuse("guest", "template", "build", "--memory", "10")["message"]
    assert little.startswith("there is no template of 10 MiB, as this guest needs at least")
    [check] = [one for one in small.ask("doctor") if one["name"] == "templates"]
    assert (check["ok"], check["remedy"]) == (None, "raise template.max_memory")
    small.do("pod", "run", small.pod("tight", IDLE))
    assert "larger than template.max_memory" in small.status("tight")["machine"]["boot"]
    small.do("pod", "delete", "tight")


@pytest.fixture
def pooled(apart: Host) -> Iterator[Host]:
    """The same with room for a ready guest."""
    folder = apart.environment["VCTUI_TEMPLATES"]
    config = Path(folder) / "pool.toml"
    config.write_text(f'[template]\nmemory_dir = "{folder}"\npool = 1\n')
    made = replace(apart, environment={**apart.environment, "VCTUI_CONFIG": str(config)})
    yield made
    wait_until(lambda: not fillers(made), "the end of who fills the pool")
    apart.do("pod", "list")  # whose pool is off
    assert apart.left_over() == []
    assert not (apart.root / "run" / "pool").exists()


def ready(host: Host) -> list[Path]:
    return [file.parent for file in (host.root / "run" / "pool").glob("ready-*/ready.json")]


def fillers(host: Host) -> list[process.Spawned]:
    return process.find_by_argument(host.root / "run" / "pool", beside=["vctui.engine.filler"])


def machines(host: Host) -> list[process.Spawned]:
    """Those in the pool."""
    everything = process.find_by_argument(host.root / "run" / "pool", beside=["-pidfile"])
    taken = {one["machine"]["pid"] for one in host.ask("pod", "list") if one["machine"]}
    return [one for one in everything if one.pid not in taken]


def test_pods_take_ready_guests_and_whoever_is_killed_leaves_none(pooled: Host):
    pooled.do("guest", "template", "build")
    wait_until(lambda: ready(pooled), "a ready guest")
    [first] = ready(pooled)
    [template] = pooled.ask("guest", "template", "list")
    assert template["ready"] == 1
    [check] = [one for one in pooled.ask("doctor") if one["name"] == "ready guests"]
    assert check["detail"] == "1 of 1 wait for a pod"

    pooled.do("pod", "run", pooled.pod("taker", ("main", f"{FACTS}; sleep 100000")))
    facts = pooled.do("logs", "taker", "main").splitlines()
    assert facts[2:4] == ["taker", "no identity"]
    machine = pooled.status("taker")["machine"]
    assert machine["boot"].startswith("taken from the pool of ready guests")
    assert machine["template"] == template["key"]
    assert str(first) in Path(f"/proc/{machine['pid']}/cmdline").read_text()

    wait_until(lambda: ready(pooled), "another ready guest")
    [second] = ready(pooled)
    wait_until(lambda: not fillers(pooled), "the end of who fills the pool")
    assert second.name != first.name

    # the machine is the pod's: it ends with it, and so does one whose taker was killed
    [waiting] = machines(pooled)
    slow = {"post_start": [{"path": "/bin/sleep", "args": ["sleep", "5"]}]}
    taker = pooled.start("pod", "run", pooled.pod("killed", IDLE, hooks=slow))
    wait_until(lambda: not second.exists(), "the guest to be taken")
    os.kill(taker.pid, signal.SIGKILL)
    taker.communicate(timeout=20)
    assert process.is_alive(waiting.pid, waiting.started)
    pooled.do("pod", "delete", "taker")
    assert not process.is_alive(machine["pid"], machine["pid_started"])
    assert pooled.status("killed")["state"] == "stopped"
    assert not process.is_alive(waiting.pid, waiting.started)

    # one who fills the pool and is killed leaves a guest that the next engine ends
    pooled.do("pod", "delete", "killed")
    pooled.do("pod", "run", pooled.pod("restored", IDLE))
    assert pooled.status("restored")["machine"]["boot"].startswith("restored from a template")
    wait_until(lambda: machines(pooled), "a guest that is being made")
    for filler in fillers(pooled):
        os.kill(filler.pid, signal.SIGKILL)
    [half] = machines(pooled)
    wait_until(lambda: not fillers(pooled), "the filler's end")
    pooled.do("pod", "delete", "restored")
    assert not process.is_alive(half.pid, half.started)


@pytest.fixture
def busy() -> Iterator[None]:
    """More work for the host than it has processors."""
    words = ["sh", "-c", "while :; do :; done"]
    hogs = [subprocess.Popen(words) for _ in range((os.cpu_count() or 1) + 1)]
    yield
    for hog in hogs:
        hog.kill()
        hog.wait()


def settings_of(host: Host) -> Settings:
    folders = {name: host.environment[f"VCTUI_{name.upper()}"] for name in FOLDERS}
    return load_settings(Path(host.environment["VCTUI_CONFIG"]), folders)


def backwards(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """After this call of theirs, guests believe that it is some hours ago."""
    does = getattr(KataAgent, what)

    async def and_goes_back(agent: KataAgent, *words: Any, **keys: Any) -> None:
        await does(agent, *words, **keys)
        past = agent_pb2.SetGuestDateTimeRequest(Sec=int(time.time()) - 7 * 3600)
        await agent._do("SetGuestDateTime", past)

    monkeypatch.setattr(KataAgent, what, and_goes_back)


def clock(host: Host, pod: str) -> None:
    """The pod's first words are its time: right, and it goes on as the host's does."""
    script = "for n in 1 2 3; do date +%s; cat /proc/uptime; sleep 1; done; sleep 100000"
    before = time.time()
    host.do("pod", "run", host.pod(pod, ("main", script)))
    wait_until(lambda: len(host.ask("logs", pod, "main")) == 6, "what its clock says")
    lines = host.ask("logs", pod, "main")
    seen = [datetime.fromisoformat(line["time"]).timestamp() for line in lines]
    assert int(before) - 1 <= int(lines[0]["text"]) <= seen[0] + 1
    took = float(lines[5]["text"].split()[0]) - float(lines[1]["text"].split()[0])
    assert abs(took - (seen[5] - seen[1])) < 0.5


def test_the_clock_is_right_however_old_the_guest_and_busy_the_host(
    apart: Host, pooled: Host, busy: None, monkeypatch: pytest.MonkeyPatch
):
    for template in apart.ask("guest", "template", "list"):
        apart.do("guest", "template", "remove", template["key"])

    async def build() -> None:
        async with Runtime(settings_of(apart)) as runtime:
            await runtime.build_template()

    async def fill() -> None:
        async with Runtime(settings_of(pooled)) as runtime:
            await filling.fill(runtime._reading)

    backwards(monkeypatch, "prepare")  # the last that is done before a template is saved
    asyncio.run(build())
    clock(apart, "old")
    assert apart.status("old")["machine"]["boot"].startswith("restored from a template")
    apart.do("pod", "delete", "old")

    backwards(monkeypatch, "remove_container")  # ... and before a guest waits in the pool
    asyncio.run(fill())
    clock(pooled, "waited")
    assert pooled.status("waited")["machine"]["boot"].startswith("taken from the pool")
    pooled.do("pod", "delete", "waited")
