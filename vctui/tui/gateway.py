"""The one door from the console to the engine.

The engine runs on an event loop in a thread of its own, so that nothing it does can hold up
the screen. Calls go in as coroutines, answers come back to the caller; what changes by itself
comes as messages: snapshots of all pods, process lists of the selected container.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from textual.message import Message

from vctui.errors import GuestNotBuilt, ReadOnly, VctuiError
from vctui.model.container import Cmd, ProcessListOptions
from vctui.model.kinds import ProcessListFormat
from vctui.model.logs import LogSource
from vctui.model.pod import PodConfig, PodStatus
from vctui.model.ports import BoundPort, PortPair
from vctui.present import processes
from vctui.settings import Settings
from vctui.tui.messages import (
    Changed,
    Connected,
    ConnectionFailed,
    ForwardProblem,
    ProcessesSampled,
    Progressed,
    Snapshot,
)
from vctui.tui.streams import BridgedAttachment, LogStream, closing

if TYPE_CHECKING:
    from vctui.drivers.shims.base import Attachment
    from vctui.engine.runtime import Runtime
    from vctui.model.doctor import Check
    from vctui.model.events import Event
    from vctui.model.timeline import Timeline
    from vctui.model.traffic import Traffic

T = TypeVar("T")

SNAPSHOT_INTERVAL: Final = 0.1
"""Seconds between two snapshots, at least; several times their cost where that is more."""
SAMPLE_INTERVAL: Final = 1.0
"""Seconds between two process lists."""
RETRY_INTERVAL: Final = 2.0
KEPT_EVENTS: Final = 1000


@dataclass(frozen=True, slots=True)
class _Engine:
    """What there is once the engine's thread is up."""

    loop: asyncio.AbstractEventLoop
    runtime: Runtime
    leave: asyncio.Event
    """Set when the console is to end."""
    moved: asyncio.Event
    """Set when another container is to be sampled."""


@dataclass(frozen=True, slots=True)
class Forwarded:
    """Ports of the host that lead to a pod."""

    pod_id: str
    bound: tuple[BoundPort, ...]
    task: asyncio.Task[Any] | None
    """In the engine's loop; its end is theirs."""


OpenRuntime = Callable[[Settings, bool], "AbstractAsyncContextManager[Runtime]"]


def open_engine(settings: Settings, read_only: bool) -> AbstractAsyncContextManager[Runtime]:
    """The real engine; imported in its own thread, after the first paint."""
    from vctui.engine.runtime import Runtime

    return Runtime(settings, read_only=read_only)


class Gateway:
    """Methods are called in the screen's loop unless they say otherwise."""

    def __init__(
        self,
        settings: Settings,
        post: Callable[[Message], object],
        *,
        read_only: bool = False,
        open_runtime: OpenRuntime = open_engine,
    ) -> None:
        self._settings = settings
        self._receive = post
        self._read_only = read_only
        self._open = open_runtime
        self._thread = threading.Thread(target=self._main, name="engine", daemon=True)
        self._ready: concurrent.futures.Future[_Engine] = concurrent.futures.Future()
        self._grace = 0.0
        self._changes: set[asyncio.Task[Any]] = set()
        self._streams: set[asyncio.Task[Any]] = set()
        self._forwards: tuple[Forwarded, ...] = ()
        """Replaced in the engine's loop, read in the screen's."""
        self._watched: tuple[str, str] | None = None

    # --- the engine's thread

    def start(self) -> None:
        self._thread.start()

    def _post(self, message: Message) -> None:
        with suppress(RuntimeError):  # the screen's loop has ended before us
            self._receive(message)

    def _main(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # the thread must not die silently
            if not self._ready.done():
                self._ready.set_exception(error)
            self._post(ConnectionFailed(error))

    async def _serve(self) -> None:
        async with self._open(self._settings, self._read_only) as runtime:
            loop = asyncio.get_running_loop()
            engine = _Engine(loop, runtime, asyncio.Event(), asyncio.Event())
            self._ready.set_result(engine)
            self._post(Connected(self._guest_built()))
            runtime.fill_pool()
            background = [
                asyncio.create_task(self._follow_changes(runtime)),
                asyncio.create_task(self._follow_processes(engine)),
            ]
            await engine.leave.wait()
            await self._settle()
            for task in (*background, *self._streams):
                task.cancel()
            await asyncio.gather(*background, *self._streams, return_exceptions=True)

    async def _settle(self) -> None:
        """Let changes under way complete for a while; then cancel them, which undoes them."""
        if self._changes:
            await asyncio.wait(self._changes, timeout=self._grace)
        for task in self._changes:
            task.cancel()
        while self._changes:
            await asyncio.wait(self._changes)

    async def _follow_changes(self, runtime: Runtime) -> None:
        known: dict[str, PodStatus] = {}
        events: deque[Event] = deque(runtime.recent_events(limit=KEPT_EVENTS), KEPT_EVENTS)
        while True:
            try:
                async with closing(runtime.changes()) as changes:
                    async for _ in changes:
                        began = time.monotonic()
                        pods = tuple(_same(known, pod) for pod in await runtime.list_pods())
                        known = {pod.id: pod for pod in pods}
                        async with closing(runtime.events(after=_last(events))) as news:
                            events.extend([event async for event in news])
                        self._post(Changed(Snapshot(pods, tuple(events), runtime.accelerator())))
                        await asyncio.sleep(max(SNAPSHOT_INTERVAL, 3 * (time.monotonic() - began)))
            except VctuiError as error:
                self._post(ConnectionFailed(error))
            await asyncio.sleep(RETRY_INTERVAL)

    async def _follow_processes(self, engine: _Engine) -> None:
        while True:
            engine.moved.clear()
            if (watched := self._watched) is None:
                await engine.moved.wait()
                continue
            began = time.monotonic()
            sample = await self._sample(engine.runtime, *watched)
            if watched == self._watched:
                self._post(sample)
            # A guest that answers slowly is asked less often.
            pause = max(SAMPLE_INTERVAL, 2 * (time.monotonic() - began))
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await engine.moved.wait()

    async def _sample(self, runtime: Runtime, pod_id: str, container_id: str) -> ProcessesSampled:
        options = ProcessListOptions(format=ProcessListFormat.JSON)
        try:
            data = await runtime.process_list_container(pod_id, container_id, options)
            execs = runtime.execs(pod_id)
        except VctuiError as error:
            return ProcessesSampled(pod_id, container_id, (), error.message)
        listed = processes.with_tokens(processes.parse(data), execs, container_id)
        return ProcessesSampled(pod_id, container_id, listed)

    def _guest_built(self) -> bool:
        from vctui.image import current

        try:
            current.current_guest(self._settings)
        except GuestNotBuilt:
            return False
        return True

    # --- calls

    async def _call(self, work: Callable[[Runtime], Coroutine[Any, Any, T]]) -> T:
        engine = await asyncio.wrap_future(self._ready)
        return await self._submit(work(engine.runtime))

    def _submit(self, work: Coroutine[Any, Any, T]) -> asyncio.Future[T]:
        """Run in the engine's loop, once it is there."""
        loop = self._ready.result().loop
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))

    async def _change(self, work: Callable[[Runtime], Coroutine[Any, Any, T]]) -> T:
        """A call that changes something: it goes on when its caller is gone, and `stop` waits
        for it."""

        async def tracked(runtime: Runtime) -> T:
            task = asyncio.ensure_future(work(runtime))
            self._changes.add(task)
            task.add_done_callback(self._changes.discard)
            return await task

        return await asyncio.shield(asyncio.ensure_future(self._call(tracked)))

    async def _start(self, work: Callable[[Runtime], Coroutine[Any, Any, T]]) -> T:
        """A change whose timeline is kept."""

        async def recorded(runtime: Runtime) -> T:
            from vctui.telemetry import trace

            with trace.recording():
                return await work(runtime)

        return await self._change(recorded)

    def _phases(self, number: int) -> Callable[[str], None]:
        def tell(phase: str) -> None:
            self._post(Progressed(number, phase))

        return tell

    async def run_pod(self, number: int, config: PodConfig) -> None:
        await self._start(lambda it: it.run_pod(config, progress=self._phases(number)))

    async def start_pod(self, number: int, pod_id: str) -> None:
        await self._start(lambda it: it.start_pod(pod_id, progress=self._phases(number)))

    async def stop_pod(self, number: int, pod_id: str) -> None:
        await self._change(lambda it: it.stop_pod(pod_id, progress=self._phases(number)))

    async def restart_pod(self, number: int, pod_id: str) -> None:
        await self._start(lambda it: it.restart_pod(pod_id, progress=self._phases(number)))

    async def delete_pod(self, number: int, pod_id: str) -> None:
        await self._change(lambda it: it.delete_pod(pod_id, progress=self._phases(number)))

    async def pause_pod(self, pod_id: str) -> None:
        await self._change(lambda it: it.pause_pod(pod_id))

    async def resume_pod(self, pod_id: str) -> None:
        await self._change(lambda it: it.resume_pod(pod_id))

    async def start_container(self, pod_id: str, container_id: str) -> None:
        await self._change(lambda it: it.start_container(pod_id, container_id))

    async def stop_container(self, pod_id: str, container_id: str) -> None:
        await self._change(lambda it: it.stop_container(pod_id, container_id))

    async def delete_container(self, pod_id: str, container_id: str) -> None:
        await self._change(lambda it: it.delete_container(pod_id, container_id))

    async def kill_container(
        self, pod_id: str, container_id: str, signal: int, *, everyone: bool
    ) -> None:
        await self._change(lambda it: it.kill_container(pod_id, container_id, signal, all=everyone))

    async def enter_container(self, pod_id: str, container_id: str, cmd: Cmd) -> str:
        """Start a process; its token."""
        process = await self._change(lambda it: it.enter_container(pod_id, container_id, cmd))
        return process.token

    async def timeline(self, pod_id: str) -> Timeline | None:
        """Raises NotFound."""

        async def read(runtime: Runtime) -> Timeline | None:
            return runtime.timeline(pod_id)

        return await self._call(read)

    async def traffic(self, pod_id: str) -> tuple[Traffic, ...]:
        """Raises NotFound."""

        async def read(runtime: Runtime) -> tuple[Traffic, ...]:
            return runtime.traffic(pod_id)

        return await self._call(read)

    # --- forwarded ports

    @property
    def forwarded(self) -> tuple[Forwarded, ...]:
        """What leads to pods at the moment, the oldest first."""
        return tuple(self._forwards)

    async def forward(self, pod_id: str, pairs: Sequence[PortPair]) -> tuple[BoundPort, ...]:
        """Lead ports of the host to the pod until `end_forwards`, the pod's end or ours.

        Raises what Runtime.port_forward raises.
        """
        opened: concurrent.futures.Future[tuple[BoundPort, ...]] = concurrent.futures.Future()

        async def keep(runtime: Runtime) -> None:
            try:
                async with runtime.port_forward(
                    pod_id, pairs, tell=lambda why: self._post(ForwardProblem(pod_id, why))
                ) as forward:
                    mine = Forwarded(pod_id, forward.bound, asyncio.current_task())
                    self._forwards = (*self._forwards, mine)
                    opened.set_result(forward.bound)
                    try:
                        await forward.until_pod_ends()
                    finally:
                        self._forwards = tuple(one for one in self._forwards if one is not mine)
            except VctuiError as error:
                if opened.done():
                    self._post(ForwardProblem(pod_id, error.message))
                else:
                    opened.set_exception(error)
            except BaseException as error:
                if not opened.done():
                    opened.set_exception(error)
                raise

        async def begin(runtime: Runtime) -> None:
            self._keep_streaming(keep(runtime))

        await self._call(begin)
        return await asyncio.wrap_future(opened)

    def end_forwards(self, pod_id: str) -> None:
        for one in self._forwards:
            if one.pod_id == pod_id and one.task is not None:
                end = one.task.cancel
                self._in_engine(lambda _engine, end=end: end())  # type: ignore[misc]

    async def doctor(self) -> tuple[Check, ...]:
        return await self._call(lambda it: it.doctor())

    async def build_guest(self, number: int) -> None:
        """Raises ReadOnly, GuestBuildFailed, MissingProgram."""
        if self._read_only:
            raise ReadOnly("cannot build a guest: changes are switched off")
        from vctui.image import builder

        def tell(progress: builder.Progress) -> None:
            counted = f" {progress.done}/{progress.total}" if progress.total else ""
            self._post(Progressed(number, progress.phase + counted))

        await self._change(lambda it: builder.build(self._settings, progress=tell))

    async def guest_built(self) -> bool:
        return await asyncio.to_thread(self._guest_built)

    # --- pod files

    async def pod_files(self) -> tuple[Path, ...]:
        from vctui.engine import podfile

        return await asyncio.to_thread(podfile.pod_files, self._settings)

    async def load_pod(self, path: Path) -> tuple[PodConfig, tuple[str, ...]]:
        """The pod, and what of its file has no effect.

        Raises FileProblem, InvalidConfig, InvalidId.
        """
        from vctui.engine import podfile

        warnings: list[str] = []
        config = await asyncio.to_thread(
            podfile.load_pod, path, self._settings, warn=warnings.append
        )
        return config, tuple(warnings)

    # --- streams

    async def attach(
        self, pod_id: str, container_id: str, token: str = "", *, rows: int, columns: int
    ) -> Attachment:
        replay = self._settings.logs.replay_bytes
        return await self._bridge(
            lambda it: it.attach(
                pod_id, container_id, token, replay=replay, rows=rows, columns=columns
            )
        )

    async def console(self, pod_id: str) -> Attachment:
        replay = self._settings.logs.replay_bytes
        return await self._bridge(lambda it: it.console(pod_id, replay=replay))

    async def _bridge(
        self, attach: Callable[[Runtime], Coroutine[Any, Any, Attachment]]
    ) -> Attachment:
        async def opened(runtime: Runtime) -> BridgedAttachment:
            bridge = BridgedAttachment(await attach(runtime), self._submit)
            self._keep_streaming(bridge.pump())
            return bridge

        return await self._call(opened)

    async def logs(
        self, pod_id: str, source: LogSource, container_id: str = "", *, tail: int, follow: bool
    ) -> LogStream:
        stream = LogStream()

        async def opened(runtime: Runtime) -> None:
            lines = runtime.logs(pod_id, source, container_id, follow=follow, tail=tail, live=True)
            self._keep_streaming(stream.pump(aiter(lines)))

        await self._call(opened)
        return stream

    def _keep_streaming(self, pump: Coroutine[Any, Any, None]) -> None:
        """In the engine's loop."""
        task = asyncio.create_task(pump)
        self._streams.add(task)
        task.add_done_callback(self._streams.discard)

    def watch_processes(self, watched: tuple[str, str] | None) -> None:
        """From now on sample this (pod, container), or none."""
        if watched != self._watched:
            self._watched = watched
            self._in_engine(lambda engine: engine.moved.set())

    def _in_engine(self, call: Callable[[_Engine], object]) -> None:
        """Call soon in the engine's loop, if it is up."""
        if self._ready.done() and self._ready.exception() is None:
            engine = self._ready.result()
            with suppress(RuntimeError):  # it has ended
                engine.loop.call_soon_threadsafe(call, engine)

    # --- the end

    def stop(self, *, grace: float, limit: float) -> bool:
        """Give changes under way `grace` seconds to complete, then undo them; close the engine.

        Callable from any thread but the engine's. False where it took longer than `limit`.
        """
        self._grace = grace
        if self._thread.is_alive():
            concurrent.futures.wait([self._ready], limit)
            self._in_engine(lambda engine: engine.leave.set())
            self._thread.join(limit)
        return not self._thread.is_alive()


def _last(events: deque[Event]) -> int:
    return events[-1].seq if events else 0


def _same(known: dict[str, PodStatus], pod: PodStatus) -> PodStatus:
    """The object that stood for this pod before, if nothing has changed: panes compare by
    identity."""
    old = known.get(pod.id)
    return old if old is not None and (old is pod or old == pod) else pod
