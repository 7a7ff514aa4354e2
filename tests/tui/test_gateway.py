"""The engine in its own thread: calls, news, streams, and how it ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
from textual.message import Message

from tests.fakes.fake_runtime import FakeRuntime, make_pod
from vctui.errors import NotFound, ReadOnly, StoreError
from vctui.model.container import Cmd
from vctui.model.events import EventKind
from vctui.model.logs import LogSource
from vctui.settings import Settings
from vctui.tui.gateway import Gateway
from vctui.tui.messages import (
    Changed,
    Connected,
    ConnectionFailed,
    ProcessesSampled,
    Progressed,
)

T = TypeVar("T", bound=Message)
DEADLINE = 10.0


class Mailbox:
    """Where the gateway posts; messages are looked for from the test's thread."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._news = threading.Condition()

    def post(self, message: Message) -> None:
        with self._news:
            self.messages.append(message)
            self._news.notify_all()

    async def get(self, kind: type[T], fits: Callable[[T], Any] = lambda _: True) -> T:
        """The first message of this kind that fits."""

        def found() -> T | None:
            return next((m for m in self.messages if isinstance(m, kind) and fits(m)), None)

        def wait() -> T:
            with self._news:
                assert self._news.wait_for(found, DEADLINE), f"no {kind.__name__}"
                message = found()
                assert message is not None
                return message

        return await asyncio.to_thread(wait)


@contextmanager
def running(
    runtime: FakeRuntime, settings: Settings, *, read_only: bool = False
) -> Iterator[tuple[Gateway, Mailbox]]:
    mailbox = Mailbox()
    runtime.read_only = read_only
    gateway = Gateway(
        settings,
        mailbox.post,
        read_only=read_only,
        open_runtime=lambda *_: runtime,  # type: ignore[arg-type, return-value]
    )
    gateway.start()
    try:
        yield gateway, mailbox
    finally:
        assert gateway.stop(grace=0, limit=DEADLINE)


async def test_it_tells_what_there_is_at_the_start(settings: Settings) -> None:
    runtime = FakeRuntime([make_pod("web")])
    with running(runtime, settings) as (_, mailbox):
        assert not (await mailbox.get(Connected)).guest_built
        changed = await mailbox.get(Changed)
        assert [pod.id for pod in changed.snapshot.pods] == ["web"]
        assert runtime.filled == 1, "ready guests are made while somebody looks"


async def test_it_tells_what_others_change(settings: Settings) -> None:
    runtime = FakeRuntime([make_pod("web")])
    with running(runtime, settings) as (_, mailbox):
        await mailbox.get(Changed)
        runtime.set_pod(make_pod("db"))
        runtime.emit(EventKind.POD_CREATED, "db", "pod db was created")
        changed = await mailbox.get(Changed, lambda it: it.snapshot.events)
        assert [pod.id for pod in changed.snapshot.pods] == ["web", "db"]
        assert changed.snapshot.events[-1].message == "pod db was created"


async def test_what_has_not_changed_stays_the_same_object(settings: Settings) -> None:
    runtime = FakeRuntime([make_pod("web")])
    with running(runtime, settings) as (_, mailbox):
        first = await mailbox.get(Changed)
        runtime.set_pod(make_pod("web"))
        runtime.set_pod(make_pod("db"))
        second = await mailbox.get(Changed, lambda it: len(it.snapshot.pods) == 2)
        assert second.snapshot.pods[0] is first.snapshot.pods[0]


async def test_a_flood_of_changes_is_told_ten_times_a_second_at_most(settings: Settings) -> None:
    runtime = FakeRuntime([make_pod("web")])
    with running(runtime, settings) as (_, mailbox):
        await mailbox.get(Changed)
        began = asyncio.get_running_loop().time()
        for number in range(300):
            runtime.set_pod(make_pod(f"pod-{number}"))
            await asyncio.sleep(0.001)
        await mailbox.get(Changed, lambda it: len(it.snapshot.pods) == 301)
        took = asyncio.get_running_loop().time() - began
        told = sum(isinstance(message, Changed) for message in mailbox.messages)
        assert told <= took / 0.1 + 2


async def test_a_call_gives_its_answer_and_its_phases(settings: Settings) -> None:
    runtime = FakeRuntime([make_pod("web")])
    with running(runtime, settings) as (gateway, mailbox):
        await gateway.stop_pod(7, "web")
        assert runtime.pods["web"].state == "stopped"
        progressed = await mailbox.get(Progressed)
        assert (progressed.number, progressed.phase) == (7, "talking to the fake")


async def test_an_error_reaches_the_caller(settings: Settings) -> None:
    with (
        running(FakeRuntime(), settings) as (gateway, _),
        pytest.raises(NotFound, match="no pod 'gone'"),
    ):
        await gateway.delete_pod(1, "gone")


async def test_read_only_is_enforced_below_the_screen(settings: Settings) -> None:
    runtime = FakeRuntime([make_pod("web")])
    with running(runtime, settings, read_only=True) as (gateway, _):
        with pytest.raises(ReadOnly):
            await gateway.pause_pod("web")
        with pytest.raises(ReadOnly):
            await gateway.build_guest(1)
        assert runtime.pods["web"].state == "running"


async def test_an_engine_that_does_not_open_is_reported(settings: Settings) -> None:
    mailbox = Mailbox()

    def broken(*_: object) -> Any:
        raise StoreError("the database is damaged; move it away")

    gateway = Gateway(settings, mailbox.post, open_runtime=broken)
    gateway.start()
    failed = await mailbox.get(ConnectionFailed)
    assert str(failed.error) == "the database is damaged; move it away"
    with pytest.raises(StoreError):
        await gateway.pause_pod("web")
    assert gateway.stop(grace=0, limit=DEADLINE)


async def test_a_call_goes_on_when_its_caller_is_gone(settings: Settings) -> None:
    runtime = FakeRuntime([make_pod("web")])
    let_go = runtime.hold("stop_pod")
    with running(runtime, settings) as (gateway, mailbox):
        caller = asyncio.create_task(gateway.stop_pod(1, "web"))
        await mailbox.get(Progressed)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        let_go.set()
        await mailbox.get(Changed, lambda it: it.snapshot.pods[0].state == "stopped")


async def test_stop_lets_a_change_complete_in_its_grace(settings: Settings) -> None:
    runtime = FakeRuntime([make_pod("web")])
    let_go = runtime.hold("stop_pod")
    with running(runtime, settings) as (gateway, mailbox):
        task = asyncio.create_task(gateway.stop_pod(1, "web"))
        await mailbox.get(Progressed)
        stopping = asyncio.create_task(asyncio.to_thread(gateway.stop, grace=DEADLINE, limit=60))
        let_go.set()
        assert await stopping
        await task
    assert runtime.pods["web"].state == "stopped"
    assert runtime.called("close")


async def test_stop_undoes_what_does_not_complete(settings: Settings) -> None:
    runtime = FakeRuntime([make_pod("web")])
    runtime.hold("stop_pod")
    with running(runtime, settings) as (gateway, mailbox):
        task = asyncio.create_task(gateway.stop_pod(1, "web"))
        await mailbox.get(Progressed)
        assert await asyncio.to_thread(gateway.stop, grace=0, limit=60)
        with pytest.raises(asyncio.CancelledError):
            await task
    assert runtime.called("stop_pod undone") == [("web",)]
    assert runtime.pods["web"].operation == ""
    assert [call[0] for call in runtime.calls][-1] == "close"


async def test_processes_are_sampled_only_while_wanted(settings: Settings) -> None:
    runtime = FakeRuntime([make_pod("web")])
    with running(runtime, settings) as (gateway, mailbox):
        await mailbox.get(Changed)
        assert not runtime.called("process_list_container")
        gateway.watch_processes(("web", "main"))
        sampled = await mailbox.get(ProcessesSampled)
        assert [process.pid for process in sampled.processes] == [1, 7]
        gateway.watch_processes(None)


async def test_a_process_of_an_exec_can_be_told(settings: Settings) -> None:
    runtime = FakeRuntime([make_pod("web")])
    with running(runtime, settings) as (gateway, mailbox):
        token = await gateway.enter_container("web", "main", Cmd(args=("sleep", "1")))
        gateway.watch_processes(("web", "main"))
        sampled = await mailbox.get(ProcessesSampled)
        assert [process.token for process in sampled.processes] == ["", token]


async def test_a_guest_without_an_answer_is_a_problem_not_a_crash(settings: Settings) -> None:
    runtime = FakeRuntime([make_pod("web")])
    runtime.fail("process_list_container", NotFound("the agent is gone; restart the pod"))
    with running(runtime, settings) as (gateway, mailbox):
        gateway.watch_processes(("web", "main"))
        sampled = await mailbox.get(ProcessesSampled)
        assert sampled.problem == "the agent is gone; restart the pod"


async def test_a_log_is_carried_over_in_batches(settings: Settings) -> None:
    with running(FakeRuntime([make_pod("web")]), settings) as (gateway, _):
        stream = await gateway.logs("web", LogSource.CONTAINER, "main", tail=10, follow=False)
        lines = [line.text async for batch in stream.batches() for line in batch]
        assert lines[-1] == b"container log of web/main"
        assert len(lines) == 41


async def test_a_followed_log_ends_when_it_is_left(settings: Settings) -> None:
    with running(FakeRuntime([make_pod("web")]), settings) as (gateway, _):
        stream = await gateway.logs("web", LogSource.AGENT, tail=10, follow=True)
        async for _ in stream.batches():
            stream.stop()
        stream.stop()


async def test_an_attachment_works_across_the_threads(settings: Settings) -> None:
    runtime = FakeRuntime([make_pod("web")])
    with running(runtime, settings) as (gateway, _):
        attachment = await gateway.attach("web", "main", rows=24, columns=80)
        await attachment.resize(30, 100)
        await attachment.write(b"exit\r")
        output = b"".join([output.data async for output in attachment])
        assert output == b"/ # exit\r\n"
        assert attachment.exit_code == 0
        assert runtime.terminals[0].sizes == [(30, 100)]


async def test_detaching_ends_the_iteration_and_leaves_the_process(settings: Settings) -> None:
    runtime = FakeRuntime([make_pod("web")])
    with running(runtime, settings) as (gateway, _):
        attachment = await gateway.console("web")
        async for _ in attachment:
            await attachment.detach()
        await attachment.detach()
        assert runtime.consoles[0].detached
        assert attachment.exit_code is None
