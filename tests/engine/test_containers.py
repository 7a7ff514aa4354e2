"""What a container promises, whatever it runs on (mock and noop: no machine is needed)."""

from __future__ import annotations

import pytest

from tests.engine.conftest import container, pod
from vctui import errors
from vctui.engine.runtime import Runtime
from vctui.model.container import Cmd, ContainerConfig, ProcessListOptions
from vctui.model.state import State


async def test_a_container_joins_a_running_pod(runtime: Runtime):
    await runtime.run_pod(pod())
    assert (await runtime.create_container("web", container("late"))).state is State.READY
    assert (await runtime.start_container("web", "late")).state is State.RUNNING
    names = [one.id for one in (await runtime.status_pod("web")).containers_status]
    assert names == ["main", "late"]


async def test_a_container_stops_starts_again_and_is_deleted(runtime: Runtime):
    await runtime.run_pod(pod())
    assert (await runtime.stop_container("web", "main")).state is State.STOPPED
    assert (await runtime.stop_container("web", "main")).state is State.STOPPED
    assert (await runtime.start_container("web", "main")).state is State.RUNNING
    with pytest.raises(errors.WrongState, match="running"):
        await runtime.delete_container("web", "main")
    await runtime.stop_container("web", "main")
    await runtime.delete_container("web", "main")
    with pytest.raises(errors.NotFound, match="no container 'main'"):
        await runtime.status_container("web", "main")
    assert (await runtime.status_pod("web")).state is State.RUNNING


async def test_deleting_three_of_four_containers_keeps_the_other(runtime: Runtime):
    await runtime.create_pod(pod("web", *(container(name) for name in ("c1", "c2", "c3", "c4"))))
    for name in ("c1", "c3", "c4"):
        await runtime.delete_container("web", name)
    names = [one.id for one in (await runtime.status_pod("web")).containers_status]
    assert names == ["c2"]


async def test_a_container_id_is_used_once_in_a_pod(runtime: Runtime):
    await runtime.create_pod(pod())
    with pytest.raises(errors.AlreadyExists):
        await runtime.create_container("web", container("main"))
    with pytest.raises(errors.InvalidId):
        await runtime.create_container("web", container("../main"))
    empty = ContainerConfig(id="empty", rootfs="busybox", cmd=Cmd(args=()))
    with pytest.raises(errors.InvalidConfig, match="args is empty"):
        await runtime.create_container("web", empty)


@pytest.mark.parametrize("state", ["ready", "paused", "stopped"])
async def test_only_a_running_pod_takes_commands(runtime: Runtime, state: str):
    await runtime.create_pod(pod())
    if state != "ready":
        await runtime.start_pod("web")
        await (runtime.pause_pod("web") if state == "paused" else runtime.stop_pod("web"))
    before = await runtime.status_pod("web")
    for call in (
        runtime.enter_container("web", "main", Cmd(args=("true",))),
        runtime.kill_container("web", "main", 9),
        runtime.process_list_container("web", "main", ProcessListOptions()),
        runtime.start_container("web", "main"),
    ):
        with pytest.raises(errors.WrongState):
            await call
    assert await runtime.status_pod("web") == before


async def test_signals_and_commands_are_checked(runtime: Runtime):
    await runtime.run_pod(pod())
    for number in (0, -9, 65):
        with pytest.raises(errors.InvalidConfig, match="not a signal"):
            await runtime.kill_container("web", "main", number)
    with pytest.raises(errors.InvalidConfig, match="args is empty"):
        await runtime.enter_container("web", "main", Cmd(args=()))
    with pytest.raises(errors.NotFound, match="no container 'nobody'"):
        await runtime.kill_container("web", "nobody", 9)


async def test_exec_is_remembered(runtime: Runtime):
    await runtime.run_pod(pod())
    process = await runtime.enter_container("web", "main", Cmd(args=("ls", "/")))
    assert [record.process.token for record in runtime.execs("web")] == [process.token]
