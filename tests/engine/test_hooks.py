"""What hooks get, when they run, and what their failures do (behaviour sheet §8.1)."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import msgspec
import pytest

from tests.engine.conftest import container, pod
from vctui import errors
from vctui.engine.runtime import Runtime
from vctui.linux import process
from vctui.model.events import EventKind
from vctui.model.hook import Hook, Hooks
from vctui.model.pod import PodConfig
from vctui.model.state import State


def shell(script: str, *args: str, timeout: int = 0, env: tuple[str, ...] = ()) -> Hook:
    return Hook(path="/bin/sh", args=("sh", "-c", script, "sh", *args), timeout=timeout, env=env)


def hooked(**hooks: Hook) -> PodConfig:
    listed = Hooks(**{phase: (hook,) for phase, hook in hooks.items()})
    return msgspec.structs.replace(pod(), hooks=listed, annotations={"team": "blue"})


def warnings(runtime: Runtime) -> list[str]:
    events = runtime.recent_events(pod_id="web")
    return [one.message for one in events if one.kind is EventKind.WARNING]


async def test_each_hook_gets_the_oci_state_at_its_turn(runtime: Runtime, tmp_path: Path):
    def note(name: str) -> Hook:
        return shell('cat > "$1"', str(tmp_path / name))

    await runtime.run_pod(
        hooked(pre_start=note("before"), post_start=note("after"), post_stop=note("end"))
    )
    assert not (tmp_path / "end").exists()
    await runtime.stop_pod("web")
    common = {
        "ociVersion": "1.0.2",
        "id": "web",
        "bundle": str(runtime.settings.run_dir / "pods/web"),
        "annotations": {"team": "blue"},
    }
    ours = {"pid": os.getpid()}  # no process stands for a mock machine
    expected = {
        "before": {**common, "status": "creating", **ours},
        "after": {**common, "status": "running", **ours},
        "end": {**common, "status": "stopped"},
    }
    assert {name: json.loads((tmp_path / name).read_text()) for name in expected} == expected


async def test_a_hook_gets_its_arguments_and_nothing_but_its_environment(
    runtime: Runtime, tmp_path: Path
):
    out = tmp_path / "out"
    hook = shell('echo "$0 $1 $A ${HOME-none}" > "$2"', "one two", str(out), env=("A=b=c",))
    await runtime.run_pod(hooked(pre_start=hook))
    assert out.read_text() == "sh one two b=c none\n"


async def test_a_hook_without_arguments_and_environment_has_its_path_and_ours(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOOK_OUT", str(tmp_path / "out"))
    script = tmp_path / "hook"
    script.write_text('#!/bin/sh\necho "$0 $#" > "$HOOK_OUT"\n')
    script.chmod(0o755)
    await runtime.run_pod(hooked(pre_start=Hook(path=str(script))))
    assert (tmp_path / "out").read_text() == f"{script} 0\n"


@pytest.mark.parametrize(
    ("hook", "says"),
    [
        (shell("echo reason >&2; echo more; exit 3"), "status 3; its standard error ends with: re"),
        (shell("kill -9 $$"), "signal 9; it said nothing"),
        (Hook(path="/no/such/program"), "/no/such/program: No such file or directory"),
        (shell("sleep 100", timeout=1), "more than its 1 s"),
    ],
)
async def test_a_failing_pre_start_hook_ends_the_start_and_changes_nothing(
    runtime: Runtime, hook: Hook, says: str, tmp_path: Path
):
    booted = shell('touch "$1"', str(tmp_path / "second"))
    config = hooked()
    config = msgspec.structs.replace(config, hooks=Hooks(pre_start=(hook, booted)))
    await runtime.create_pod(config)
    with pytest.raises(errors.HookFailed, match=r"hooks\.pre_start\[0\] of pod 'web'") as raised:
        await runtime.start_pod("web")
    assert says in str(raised.value)
    status = await runtime.status_pod("web")
    assert (status.state, status.operation, status.machine) == (State.READY, "", None)
    assert not (tmp_path / "second").exists()
    with pytest.raises(errors.HookFailed):
        await runtime.run_pod(msgspec.structs.replace(config, id="other"))
    assert [one.id for one in await runtime.list_pods()] == ["web"]


async def test_other_hooks_that_fail_are_warnings_and_the_next_one_runs(
    runtime: Runtime, tmp_path: Path
):
    def fail_and_note(name: str) -> tuple[Hook, ...]:
        return (shell("exit 4"), shell('touch "$1"', str(tmp_path / name)))

    hooks = Hooks(post_start=fail_and_note("after"), post_stop=fail_and_note("end"))
    await runtime.run_pod(msgspec.structs.replace(pod(), hooks=hooks))
    assert (tmp_path / "after").exists()
    assert (await runtime.stop_pod("web")).state is State.STOPPED
    assert (tmp_path / "end").exists()
    first, second = warnings(runtime)
    assert "hooks.post_start[0] of pod 'web'" in first
    assert "hooks.post_stop[0] of pod 'web'" in second
    assert "status 4" in second


async def test_restart_and_delete_run_the_post_stop_hooks(runtime: Runtime, tmp_path: Path):
    out = tmp_path / "out"
    note = shell('echo "$1" >> "$2"', "stopped", str(out))
    again = shell('echo "$1" >> "$2"', "starts", str(out))
    await runtime.run_pod(hooked(pre_start=again, post_stop=note))
    await runtime.restart_pod("web")
    await runtime.delete_pod("web")
    assert out.read_text().split() == ["starts", "stopped", "starts", "stopped"]


async def test_a_failing_hook_leaves_a_restarted_pod_stopped(runtime: Runtime, tmp_path: Path):
    bad = tmp_path / "bad"
    await runtime.run_pod(hooked(pre_start=shell('test ! -e "$1"', str(bad))))
    bad.touch()
    with pytest.raises(errors.HookFailed):
        await runtime.restart_pod("web")
    status = await runtime.status_pod("web")
    assert (status.state, status.operation, status.machine) == (State.STOPPED, "", None)
    assert [one.state for one in status.containers_status] == [State.STOPPED]
    bad.unlink()
    assert (await runtime.start_pod("web")).state is State.RUNNING


async def test_stopping_stays_done_when_it_is_interrupted_in_a_hook(
    runtime: Runtime, tmp_path: Path
):
    mark = tmp_path / "runs"
    await runtime.run_pod(hooked(post_stop=shell('touch "$1"; sleep 1000', str(mark))))
    stopping = asyncio.create_task(runtime.stop_pod("web"))
    async with asyncio.timeout(10):
        while not mark.exists():  # noqa: ASYNC110 - only the hook can tell
            await asyncio.sleep(0.01)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert (await runtime.status_pod("web")).state is State.STOPPED
    assert process.find_by_argument(mark) == []


async def test_what_a_hook_says_is_bounded(runtime: Runtime):
    talkative = shell("head -c 3000000 /dev/zero | tr '\\0' x; echo end; exit 1")
    with pytest.raises(errors.HookFailed, match=r"end$") as raised:
        await runtime.run_pod(hooked(pre_start=talkative))
    assert len(str(raised.value)) < 1000


async def test_a_hook_need_not_read_its_input(runtime: Runtime):
    config = msgspec.structs.replace(
        pod("web", container()),
        annotations={"much": "x" * 300_000},
        hooks=Hooks(pre_start=(Hook(path="/bin/true"),)),
    )
    assert (await runtime.run_pod(config)).state is State.RUNNING


@pytest.mark.parametrize(
    ("hook", "says"),
    [
        (Hook(path="logger"), r"hooks\.post_stop\[0\]\.path 'logger' is not absolute"),
        (Hook(path="/bin/true", env=("A",)), r"hooks\.post_stop\[0\]\.env\[0\] 'A' is not"),
        (Hook(path="/bin/true", env=("=b",)), r"env\[0\] '=b' is not"),
        (Hook(path="/bin/true", timeout=-1), r"timeout is -1 but cannot be negative"),
        (Hook(path="/bin/true", args=("a\0b",)), r"hooks\.post_stop\[0\]\.args\[0\] holds a NUL"),
    ],
)
async def test_a_hook_that_cannot_be_is_refused(runtime: Runtime, hook: Hook, says: str):
    with pytest.raises(errors.InvalidConfig, match=says):
        await runtime.create_pod(hooked(post_stop=hook))
