"""What a crashed engine left half done is repaired by whoever comes next."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from tests.engine.conftest import container, pod
from vctui import errors
from vctui.drivers.agents.noop import NoopAgent
from vctui.drivers.hypervisors.base import MachinePlan
from vctui.drivers.hypervisors.mock import MockHypervisor
from vctui.engine import paths
from vctui.engine.runtime import Runtime
from vctui.linux import locks, process
from vctui.model.events import EventKind
from vctui.model.hypervisor import Machine
from vctui.model.pod import PodStatus
from vctui.model.state import State
from vctui.settings import Settings
from vctui.store.sqlite import SqliteStore


def leave_half_done(settings: Settings, operation: str) -> None:
    """The record as an engine leaves it that was killed in the middle of `operation`."""
    store = SqliteStore(settings.state_dir)
    with store.transaction() as tx:
        tx.save_pod(msgspec.structs.replace(tx.pod("web"), operation=operation))
    store.close()


async def reopened(settings: Settings) -> PodStatus:
    async with Runtime(settings) as runtime:
        return await runtime.status_pod("web")


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
async def test_an_interrupted_start_or_stop_ends_stopped_with_the_reason(
    runtime: Runtime, settings: Settings, verb: str
):
    await runtime.run_pod(pod())
    leave_half_done(settings, verb)
    status = await reopened(settings)
    assert status.state is State.STOPPED
    assert f"its {verb} was interrupted" in status.reason
    assert status.operation == ""
    assert status.machine is None
    assert [one.state for one in status.containers_status] == [State.STOPPED]
    assert runtime.recent_events()[-1].kind is EventKind.RECOVERED
    assert (await runtime.start_pod("web")).reason == ""


async def test_an_interrupted_deletion_is_completed(runtime: Runtime, settings: Settings):
    await runtime.run_pod(pod())
    leave_half_done(settings, "delete")
    async with Runtime(settings) as other:
        assert await other.list_pods() == ()
    assert not list(settings.run_dir.rglob("web"))


@pytest.mark.parametrize("verb", ["pause", "resume"])
async def test_a_pod_runs_on_after_an_interrupted_pause(
    runtime: Runtime, settings: Settings, verb: str
):
    await runtime.run_pod(pod())
    await runtime.pause_pod("web")
    leave_half_done(settings, verb)
    status = await reopened(settings)
    assert (status.state, status.operation) == (State.RUNNING, "")
    assert [one.state for one in status.containers_status] == [State.RUNNING]


async def test_an_interrupted_change_of_a_container_leaves_pod_and_others_running(
    runtime: Runtime, settings: Settings
):
    await runtime.run_pod(pod("web", container("one"), container("two")))
    leave_half_done(settings, "stop-container one")
    status = await reopened(settings)
    assert (status.state, status.operation) == (State.RUNNING, "")
    assert [one.state for one in status.containers_status] == [State.STOPPED, State.RUNNING]


async def test_a_pod_that_somebody_works_on_is_left_alone(runtime: Runtime, settings: Settings):
    await runtime.run_pod(pod())
    leave_half_done(settings, "stop")
    async with locks.exclusive(paths.of_pod(settings, "web").lock):
        assert (await reopened(settings)).operation == "stop"
    assert (await reopened(settings)).operation == ""


async def test_a_reader_repairs_nothing(runtime: Runtime, settings: Settings):
    await runtime.run_pod(pod())
    leave_half_done(settings, "stop")
    async with Runtime(settings, read_only=True) as reader:
        assert (await reader.status_pod("web")).operation == "stop"


async def test_what_belongs_to_no_pod_is_removed(runtime: Runtime, settings: Settings):
    await runtime.run_pod(pod())
    for root in (paths.pods_root(settings), paths.rootfs_root(settings)):
        (root / "ghost" / "share").mkdir(parents=True)
        (root / "ghost" / "file").write_text("left")
    async with Runtime(settings):
        pass
    assert not list(settings.run_dir.rglob("ghost"))
    assert not list(settings.state_dir.rglob("ghost"))
    assert (await runtime.status_pod("web")).state is State.RUNNING


async def test_the_folder_of_a_pod_that_is_just_being_made_is_left_alone(settings: Settings):
    async with Runtime(settings):
        folder = paths.pods_root(settings) / "newborn"
        folder.mkdir(parents=True)
        async with locks.exclusive(paths.of_pod(settings, "newborn").lock):
            async with Runtime(settings):
                pass
            assert folder.is_dir()


async def test_a_failed_change_leaves_the_record_as_it_was(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
):
    from vctui.drivers.hypervisors.mock import MockHypervisor

    await runtime.create_pod(pod())
    before = await runtime.status_pod("web")

    async def fail(*_args: object) -> None:
        raise errors.HypervisorError("no machine today; try tomorrow")

    monkeypatch.setattr(MockHypervisor, "start", fail)
    with pytest.raises(errors.HypervisorError):
        await runtime.start_pod("web")
    assert await runtime.status_pod("web") == before
    last = runtime.recent_events()[-1]
    assert last.kind is EventKind.FAILED
    assert "no machine today" in last.message
    with pytest.raises(errors.HypervisorError):
        await runtime.run_pod(pod("other"))
    assert [one.id for one in await runtime.list_pods()] == ["web"]


KILLED = """
import asyncio, sys
from pathlib import Path
from tests.engine.conftest import pod
from vctui.engine.runtime import Runtime
from vctui.settings import Paths, Settings

async def main(root):
    settings = Settings(paths=Paths(run_dir=f"{root}/run", state_dir=f"{root}/state",
                                    cache_dir=f"{root}/cache"))
    async with Runtime(settings) as runtime:
        print("open", flush=True)
        while True:
            await runtime.run_pod(pod())
            await runtime.pause_pod("web")
            await runtime.resume_pod("web")
            await runtime.stop_pod("web")
            await runtime.delete_pod("web")

asyncio.run(main(sys.argv[1]))
"""


async def test_killing_an_engine_at_any_step_leaves_a_state_that_the_api_knows(
    settings: Settings, tmp_path: Path
):
    for attempt in range(12):
        engine = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE
        )
        assert engine.stdout
        assert await asyncio.to_thread(engine.stdout.readline) == b"open\n"
        await asyncio.sleep(0.003 * attempt)  # another step each time
        engine.send_signal(signal.SIGKILL)
        engine.wait()
        engine.stdout.close()
        async with Runtime(settings) as runtime:
            for status in await runtime.list_pods():
                assert status.operation == ""
                await runtime.delete_pod(status.id)
        assert [path for path in settings.run_dir.rglob("*") if path.is_file()] == []


async def test_a_monitor_that_is_still_there_may_tell_how_the_machine_ended(
    runtime: Runtime, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    await runtime.run_pod(pod())
    store = SqliteStore(settings.state_dir)
    monitor = subprocess.Popen(["sleep", "100"])

    def save(**fields: object) -> None:
        with store.transaction() as tx:
            tx.save_pod(msgspec.structs.replace(tx.pod("web"), **fields))

    save(monitor_pid=monitor.pid, monitor_started=process.start_time(monitor.pid))
    monkeypatch.setattr(MockHypervisor, "alive", lambda _self, _machine: False)
    asked = asyncio.create_task(reopened(settings))
    done, _ = await asyncio.wait({asked}, timeout=0.2)
    assert not done
    save(state=State.STOPPED, reason="the guest kernel panicked", machine=None)
    monitor.kill()
    monitor.wait()
    assert (await asked).reason == "the guest kernel panicked"
    store.close()


@pytest.fixture
def machine() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "100"]) as stands_for_it:
        yield stands_for_it
        stands_for_it.kill()


async def losing(
    runtime: Runtime,
    monkeypatch: pytest.MonkeyPatch,
    machine: subprocess.Popen[bytes],
    lose: Callable[[], None],
) -> errors.VctuiError:
    """How a pod's start fails whose agent is lost when it has lost something else."""

    class Lost(NoopAgent):
        async def start_sandbox(self, **_: object) -> None:
            lose()
            raise errors.AgentUnreachable("the connection ended")

    start = MockHypervisor.start

    async def with_process(self: MockHypervisor, plan: MachinePlan) -> Machine:
        begun = process.start_time(machine.pid)
        return msgspec.structs.replace(await start(self, plan), pid=machine.pid, pid_started=begun)

    monkeypatch.setattr(MockHypervisor, "start", with_process)
    monkeypatch.setattr("vctui.engine.registry.agent", lambda *_: Lost())
    with pytest.raises(errors.VctuiError) as failed:
        await runtime.run_pod(pod())
    assert await runtime.list_pods() == ()
    return failed.value


async def test_an_agent_that_is_lost_with_its_machine_is_told_of_by_why_that_ended(
    runtime: Runtime,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    machine: subprocess.Popen[bytes],
):
    store = SqliteStore(settings.state_dir)

    def lose() -> None:
        machine.kill()
        with store.transaction() as tx:  # as its monitor does
            ended = {"state": State.STOPPED, "reason": "virtiofsd ended", "machine": None}
            tx.save_pod(msgspec.structs.replace(tx.pod("web"), **ended))

    failed = await losing(runtime, monkeypatch, machine, lose)
    store.close()
    assert isinstance(failed, errors.MachineDied)
    assert "'web' ended while it was made ready: virtiofsd ended" in str(failed)


async def test_an_agent_that_is_lost_alone_is_told_of_as_that(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, machine: subprocess.Popen[bytes]
):
    monkeypatch.setattr("vctui.engine.recovery._ENDS", 0.01)
    failed = await losing(runtime, monkeypatch, machine, lambda: None)
    assert str(failed) == "the connection ended"
    assert machine.poll() is None


async def test_a_machine_whose_monitor_says_nothing_is_told_of_by_its_agent(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, machine: subprocess.Popen[bytes]
):
    failed = await losing(runtime, monkeypatch, machine, machine.kill)
    assert str(failed) == "the connection ended"
