"""What a pod promises, whatever hypervisor it runs on (mock and noop: no machine is needed)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from tests.engine.conftest import container, pod
from vctui import errors
from vctui.drivers.agents.noop import NoopAgent
from vctui.drivers.shims.noop import NoopShim
from vctui.engine import pod as engine_pod
from vctui.engine.context import Context
from vctui.engine.runtime import Runtime
from vctui.model.events import EventKind
from vctui.model.kinds import AgentType
from vctui.model.pod import PodConfig, PodRecord, PodStatus
from vctui.model.state import State
from vctui.settings import Settings, Timeouts


def states(status: PodStatus) -> tuple[State, ...]:
    return (status.state, *(one.state for one in status.containers_status))


def kinds(runtime: Runtime, pod_id: str = "web") -> list[EventKind]:
    return [event.kind for event in runtime.recent_events(pod_id=pod_id)]


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


async def test_create_boots_nothing_and_start_runs_pod_and_containers(runtime: Runtime):
    created = await runtime.create_pod(pod("web", container("one"), container("two")))
    assert states(created) == (State.READY, State.READY, State.READY)
    assert created.machine is None
    started = await runtime.start_pod("web")
    assert states(started) == (State.RUNNING, State.RUNNING, State.RUNNING)
    assert started.machine is not None
    assert started.operation == ""


async def test_run_is_create_and_start(runtime: Runtime):
    assert states(await runtime.run_pod(pod())) == (State.RUNNING, State.RUNNING)
    assert kinds(runtime)[:3] == [
        EventKind.POD_CREATED,
        EventKind.POD_STARTING,
        EventKind.CONTAINER_STARTED,
    ]


async def test_a_mock_pod_with_an_agent_is_refused_and_nothing_is_made(runtime: Runtime):
    config = msgspec.structs.replace(pod(), agent_type=AgentType.KATA)
    with pytest.raises(errors.InvalidConfig, match="boots no guest; set agent_type noop"):
        await runtime.run_pod(config)
    assert not await runtime.list_pods()


async def test_pods_are_listed_in_the_order_of_their_creation(runtime: Runtime):
    for name in ("zz", "aa", "mm"):
        await runtime.create_pod(pod(name))
    assert [one.id for one in await runtime.list_pods()] == ["zz", "aa", "mm"]


async def test_an_id_can_be_used_once(runtime: Runtime):
    await runtime.create_pod(pod())
    with pytest.raises(errors.AlreadyExists, match="'web' already exists"):
        await runtime.create_pod(pod())
    assert len(await runtime.list_pods()) == 1


async def test_a_container_id_can_be_used_once_in_a_pod(runtime: Runtime):
    with pytest.raises(errors.InvalidConfig, match="is taken"):
        await runtime.create_pod(pod("web", container("one"), container("one")))
    assert await runtime.list_pods() == ()


@pytest.mark.parametrize("bad", ["", "a", "-web", "we/b", "../x", "w" * 64, "wéb", "web\n"])
async def test_an_illegal_id_is_refused_before_anything_is_made(
    runtime: Runtime, settings: Settings, bad: str
):
    before = files_below(settings.run_dir)
    with pytest.raises(errors.InvalidId):
        await runtime.create_pod(pod(bad))
    assert files_below(settings.run_dir) == before


async def test_pause_and_resume_change_pod_and_containers(runtime: Runtime):
    await runtime.run_pod(pod())
    assert states(await runtime.pause_pod("web")) == (State.PAUSED, State.PAUSED)
    assert states(await runtime.resume_pod("web")) == (State.RUNNING, State.RUNNING)


async def test_a_paused_pod_can_be_stopped_and_deleted(runtime: Runtime):
    await runtime.run_pod(pod())
    await runtime.pause_pod("web")
    assert states(await runtime.stop_pod("web")) == (State.STOPPED, State.STOPPED)
    await runtime.run_pod(pod("other"))
    await runtime.pause_pod("other")
    await runtime.delete_pod("other")
    assert [one.id for one in await runtime.list_pods()] == ["web"]


async def test_a_stopped_pod_starts_again(runtime: Runtime):
    await runtime.run_pod(pod())
    first = (await runtime.status_pod("web")).machine
    await runtime.stop_pod("web")
    second = (await runtime.start_pod("web")).machine
    assert first
    assert second
    assert first.uuid != second.uuid


async def test_restart_ends_running_from_any_state(runtime: Runtime):
    await runtime.create_pod(pod())
    for prepare in (None, None, runtime.pause_pod, runtime.stop_pod):
        if prepare:
            await prepare("web")
        assert (await runtime.restart_pod("web")).state is State.RUNNING


@pytest.mark.parametrize(
    ("steps", "call"),
    [
        ((), "stop_pod stop_pod"),
        ((), "pause_pod"),
        ((), "resume_pod"),
        (("start_pod",), "start_pod"),
        (("start_pod",), "resume_pod"),
        (("start_pod", "pause_pod"), "start_pod"),
        (("start_pod", "pause_pod"), "pause_pod"),
        (("start_pod", "stop_pod"), "stop_pod"),
        (("start_pod", "stop_pod"), "pause_pod"),
    ],
)
async def test_the_wrong_state_is_refused_and_nothing_changes(
    runtime: Runtime, steps: tuple[str, ...], call: str
):
    await runtime.create_pod(pod())
    for step in (*steps, *call.split()[:-1]):
        await getattr(runtime, step)("web")
    before = await runtime.status_pod("web")
    with pytest.raises(errors.WrongState):
        await getattr(runtime, call.rsplit(maxsplit=1)[-1])("web")
    assert await runtime.status_pod("web") == before


async def test_delete_leaves_nothing_but_events(runtime: Runtime, settings: Settings):
    await runtime.run_pod(pod())
    last = await runtime.delete_pod("web")
    assert last.state is State.RUNNING
    assert await runtime.list_pods() == ()
    assert files_below(settings.run_dir) == []
    assert kinds(runtime)[-1] is EventKind.POD_DELETED
    with pytest.raises(errors.NotFound, match="no pod 'web'"):
        await runtime.status_pod("web")
    await runtime.run_pod(pod())


@pytest.mark.parametrize(
    "call", ["start_pod", "stop_pod", "pause_pod", "resume_pod", "delete_pod", "status_pod"]
)
async def test_an_unknown_pod_is_an_error(runtime: Runtime, settings: Settings, call: str):
    with pytest.raises(errors.NotFound, match="no pod 'nobody'"):
        await getattr(runtime, call)("nobody")
    assert files_below(settings.run_dir) == []


async def test_read_only_refuses_every_change(runtime: Runtime, settings: Settings):
    await runtime.run_pod(pod())
    async with Runtime(settings, read_only=True) as reader:
        assert (await reader.status_pod("web")).state is State.RUNNING
        for call in ("start_pod", "stop_pod", "pause_pod", "resume_pod", "delete_pod"):
            with pytest.raises(errors.ReadOnly):
                await getattr(reader, call)("web")
        with pytest.raises(errors.ReadOnly):
            await reader.create_pod(pod("other"))
        with pytest.raises(errors.ReadOnly):
            await reader.kill_container("web", "main", 9)
    assert (await runtime.status_pod("web")).state is State.RUNNING


async def test_prefixes_name_pods_and_containers(runtime: Runtime):
    await runtime.create_pod(pod("web-1", container("alpha"), container("alto")))
    await runtime.create_pod(pod("web-2"))
    await runtime.create_pod(pod("web"))
    assert runtime.resolve_pod("web-1") == "web-1"
    assert runtime.resolve_pod("web") == "web"
    with pytest.raises(errors.AmbiguousId, match="fits 2"):
        runtime.resolve_pod("web-")
    with pytest.raises(errors.NotFound):
        runtime.resolve_pod("x")
    assert runtime.resolve_container("web-1", "alp") == "alpha"
    with pytest.raises(errors.AmbiguousId):
        runtime.resolve_container("web-1", "al")


async def test_annotations_are_merged_in_any_state(runtime: Runtime):
    await runtime.create_pod(pod())
    await runtime.set_annotations("web", {"org.example.a": "1"})
    await runtime.start_pod("web")
    status = await runtime.set_annotations("web", {"org.example.b": "2"})
    assert status.annotations == {"org.example.a": "1", "org.example.b": "2"}
    assert status.state is State.RUNNING


async def test_changes_tells_of_what_another_runtime_does(runtime: Runtime, settings: Settings):
    rings = runtime.changes()
    await anext(rings)
    async with Runtime(settings) as other:
        await other.create_pod(pod())
        async with asyncio.timeout(5):
            await anext(rings)
    assert [one.id for one in await runtime.list_pods()] == ["web"]
    await rings.aclose()


async def test_events_follow_in_order(runtime: Runtime):
    seen: list[EventKind] = []

    async def read() -> None:
        async for event in runtime.events(follow=True):
            seen.append(event.kind)
            if event.kind is EventKind.POD_DELETED:
                return

    reader = asyncio.create_task(read())
    await runtime.run_pod(pod())
    await runtime.delete_pod("web")
    async with asyncio.timeout(5):
        await reader
    assert seen[0] is EventKind.POD_CREATED
    assert seen.count(EventKind.POD_STARTED) == 1
    assert seen[-1] is EventKind.POD_DELETED


async def test_many_changes_of_one_pod_at_once_serialise(settings: Settings, runtime: Runtime):
    await runtime.create_pod(pod())
    async with Runtime(settings) as other:
        calls = [
            *(engine.start_pod("web") for engine in (runtime, other, runtime, other)),
            *(engine.stop_pod("web") for engine in (runtime, other)),
        ]
        results = await asyncio.gather(*calls, return_exceptions=True)
    failures = [result for result in results if isinstance(result, BaseException)]
    assert all(isinstance(failure, errors.WrongState) for failure in failures)
    status = await runtime.status_pod("web")
    assert status.operation == ""
    assert status.state in {State.RUNNING, State.STOPPED}


async def test_the_lock_of_a_pod_that_was_never_recorded_is_removed(settings: Settings):
    locks = settings.run_dir / "locks"
    async with Runtime(settings) as runtime:
        await runtime.create_pod(pod())
        (locks / "half-made").touch()
        async with Runtime(settings):
            assert [path.name for path in locks.iterdir()] == ["web"]


@pytest.mark.parametrize("theirs", ["start", "recreate", "delete"])
async def test_run_does_not_delete_what_another_engine_has_taken_over(
    settings: Settings, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, theirs: str
):
    """Somebody is quicker than the second half of run."""
    create = engine_pod.create

    async def create_and_lose(ctx: Context, config: PodConfig) -> PodRecord:
        made = await create(ctx, config)
        monkeypatch.setattr(engine_pod, "create", create)
        async with Runtime(settings) as other:
            if theirs == "start":
                await other.start_pod("web")
            else:
                await other.delete_pod("web")
            if theirs == "recreate":
                await other.run_pod(pod("web", container("new")))
        return made

    monkeypatch.setattr(engine_pod, "create", create_and_lose)
    with pytest.raises(errors.NotFound if theirs == "delete" else errors.WrongState):
        await runtime.run_pod(pod())
    assert [one.state for one in await runtime.list_pods()] == (
        [] if theirs == "delete" else [State.RUNNING]
    )


async def test_a_guest_that_hangs_at_its_end_is_switched_off(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
):
    async def hang(_agent: NoopAgent) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(NoopAgent, "stop_sandbox", hang)
    monkeypatch.setattr(engine_pod, "_AGENT_GOODBYE", 0.01)
    await runtime.run_pod(pod())
    assert states(await runtime.stop_pod("web")) == (State.STOPPED, State.STOPPED)
    warnings = [event.message for event in runtime.recent_events() if event.kind == "warning"]
    assert warnings == [
        "switched off without goodbye: the agent did not end its containers within 0.01 s"
    ]


async def test_a_container_whose_end_is_not_told_does_not_hold_its_pod(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    async def hang(_shim: NoopShim, _run_dir: Path, _token: str) -> int | None:
        await asyncio.Event().wait()
        return None

    monkeypatch.setattr(NoopShim, "wait", hang)
    brief = msgspec.structs.replace(settings, timeouts=Timeouts(stop=0.01, agent=0.01))
    async with Runtime(brief) as runtime:
        await runtime.run_pod(pod())
        with pytest.raises(errors.AgentUnreachable, match="did not tell the end of container"):
            await runtime.stop_container("web", "main")
        assert states(await runtime.stop_pod("web")) == (State.STOPPED, State.STOPPED)
