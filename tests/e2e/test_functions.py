"""The functions and handles of the API on a real machine: what they do can be seen in the guest."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Host, wait_until
from vctui import (
    Cmd,
    ContainerConfig,
    PodConfig,
    ProcessListFormat,
    ProcessListOptions,
    Runtime,
    VCContainer,
    VCPod,
    create_container,
    create_pod,
    delete_container,
    delete_pod,
    enter_container,
    errors,
    kill_container,
    list_pod,
    load_settings,
    pause_pod,
    process_list_container,
    resume_pod,
    run_pod,
    start_container,
    start_pod,
    status_container,
    status_pod,
    stop_container,
    stop_pod,
)
from vctui.drivers.hypervisors.qemu import qmp
from vctui.model.state import State
from vctui.settings import Settings

pytestmark = pytest.mark.vm

FOLDERS = ("run_dir", "state_dir", "cache_dir")
HUP, KILL = 1, 9
TRAPPING = "trap 'echo hup' HUP; trap 'echo term; exit 3' TERM; while :; do sleep 0.1; done"


def container(name: str, script: str = TRAPPING) -> ContainerConfig:
    return ContainerConfig(
        id=name,
        rootfs="busybox",
        cmd=Cmd(args=("/bin/sh", "-c", script)),
        annotations={"org.example.name": name},
    )


@pytest.fixture(scope="module")
def settings(host: Host) -> Settings:
    folders = {name: host.environment[f"VCTUI_{name.upper()}"] for name in FOLDERS}
    return load_settings(overrides=folders)


@pytest.fixture(scope="module", autouse=True)
def pod(host: Host, settings: Settings) -> Iterator[None]:
    async def run() -> None:
        async with Runtime(settings) as runtime:
            config = PodConfig(id="api", containers=(container("main"), container("idle")))
            made = await run_pod(config, runtime=runtime)
            assert isinstance(made, VCPod)

    asyncio.run(run())
    yield
    host.run("pod", "delete", "api")


@pytest.fixture
async def runtime(settings: Settings) -> AsyncIterator[Runtime]:
    async with Runtime(settings) as runtime:
        yield runtime


async def state_of_machine(settings: Settings) -> str:
    async with qmp.connect(settings.run_dir / "pods" / "api" / "ctl.sock") as session:
        answer = await session.execute("query-status")
        return str(answer["status"])


def wait_for_line(host: Host, name: str, line: str) -> None:
    wait_until(lambda: line in host.do("logs", "api", name).splitlines(), f"{line!r} of {name}")


async def test_run_pod_starts_machine_and_containers(runtime: Runtime, settings: Settings) -> None:
    (status,) = await list_pod(runtime=runtime)
    assert (status.id, status.state) == ("api", State.RUNNING)
    assert await state_of_machine(settings) == "running"
    assert [one.state for one in status.containers_status] == [State.RUNNING] * 2


async def test_handles_tell_of_pod_and_containers(runtime: Runtime) -> None:
    held = VCPod(await status_pod("api", runtime=runtime), runtime)
    assert [one.id for one in held.get_all_containers()] == ["main", "idle"]
    main = held.get_container("main")
    assert isinstance(main, VCContainer)
    assert (main.id, main.pod, main.get_token()) == ("main", held, "main")
    assert main.get_annotations() == {"org.example.name": "main"}
    assert main.process
    assert (main.process.pid, main.process.token) == (main.get_pid(), "main")
    assert (
        main.process.start_time
        == (await status_container("api", "main", runtime=runtime)).start_time
    )
    assert str(runtime.settings.run_dir) in Path(f"/proc/{main.get_pid()}/cmdline").read_text()
    await held.set_annotations({"org.example.a": "1"})
    assert (await status_pod("api", runtime=runtime)).annotations == held.get_annotations()
    assert held.annotations("org.example.a") == "1"
    await main.set_pid(main.get_pid())


async def test_pause_and_resume_stop_the_processors(runtime: Runtime, settings: Settings) -> None:
    await pause_pod("api", runtime=runtime)
    assert await state_of_machine(settings) == "paused"
    assert (await status_container("api", "main", runtime=runtime)).state is State.PAUSED
    with pytest.raises(errors.WrongState):
        await enter_container("api", "main", Cmd(args=("true",)), runtime=runtime)
    await resume_pod("api", runtime=runtime)
    assert await state_of_machine(settings) == "running"
    assert (await status_container("api", "main", runtime=runtime)).state is State.RUNNING


async def test_kill_sends_the_signal_to_one_or_to_all(runtime: Runtime, host: Host) -> None:
    await kill_container("api", "main", HUP, False, runtime=runtime)
    wait_for_line(host, "main", "hup")
    await enter_container("api", "main", Cmd(args=("sleep", "4711")), runtime=runtime)
    await kill_container("api", "main", KILL, True, runtime=runtime)
    wait_until(lambda: host.container("api", "main")["exit_code"] == 137, "the end of all")
    wait_until(lambda: host.container("api", "main")["state"] == "stopped", "the container's end")
    with pytest.raises(errors.WrongState):
        await kill_container("api", "main", HUP, False, runtime=runtime)


async def test_enter_and_process_list_are_about_the_same_process(runtime: Runtime) -> None:
    command = Cmd(args=("sleep", "4712"), detach=True)
    of_pod, entered, process = await enter_container("api", "idle", command, runtime=runtime)
    assert (of_pod.id, entered.id) == ("api", "idle")
    assert process.token not in {"", "idle"}
    options = ProcessListOptions(format=ProcessListFormat.JSON)
    listed = json.loads(await process_list_container("api", "idle", options, runtime=runtime))
    assert "sleep 4712" in [row["args"] for row in listed]
    options = ProcessListOptions(args=("-o", "args"))
    table = await process_list_container("api", "idle", options, runtime=runtime)
    assert table.splitlines()[0] == b"COMMAND"
    assert b"sleep 4712" in table.splitlines()


async def test_a_container_is_created_started_stopped_and_deleted_while_the_pod_runs(
    runtime: Runtime, host: Host
) -> None:
    await create_container("api", container("late"), runtime=runtime)
    assert not (await status_container("api", "late", runtime=runtime)).pid
    await start_container("api", "late", runtime=runtime)
    assert (await status_container("api", "late", runtime=runtime)).state is State.RUNNING
    assert host.do("container", "exec", "api", "late", "--", "echo", "here") == "here\n"
    await stop_container("api", "late", runtime=runtime)
    status = await status_container("api", "late", runtime=runtime)
    assert (status.state, status.exit_code) == (State.STOPPED, 3)
    wait_for_line(host, "late", "term")
    gone = await delete_container("api", "late", runtime=runtime)
    assert gone.pod.get_container("late") is None
    with pytest.raises(errors.NotFound):
        await status_container("api", "late", runtime=runtime)


async def test_stop_start_delete_and_create_are_about_the_machine(
    runtime: Runtime, host: Host
) -> None:
    await stop_pod("api", runtime=runtime)
    assert host.processes("api") == []
    assert (await status_pod("api", runtime=runtime)).state is State.STOPPED
    await start_pod("api", runtime=runtime)
    assert host.do("container", "exec", "api", "main", "--", "echo", "again") == "again\n"
    await delete_pod("api", runtime=runtime)
    assert host.left_over() == []
    assert await list_pod(runtime=runtime) == ()
    made = await create_pod(PodConfig(id="api", containers=(container("main"),)), runtime=runtime)
    assert (await status_pod(made.id, runtime=runtime)).state is State.READY
    assert host.processes("api") == []
    await delete_pod("api", runtime=runtime)
