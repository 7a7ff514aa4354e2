"""The promises of a store in dictionaries: for one process, gone when it ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from vctui.errors import StoreError
from vctui.model.container import ContainerRecord, ExecRecord
from vctui.model.events import Event
from vctui.model.pod import PodRecord
from vctui.store import base


@dataclass(slots=True)
class _State:
    pods: dict[str, PodRecord] = field(default_factory=dict)
    execs: dict[str, dict[str, ExecRecord]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    last_seq: int = 0

    def copy(self) -> _State:
        """Records are frozen, so copying what holds them is enough."""
        execs = {pod_id: dict(execs) for pod_id, execs in self.execs.items()}
        return _State(dict(self.pods), execs, list(self.events), self.last_seq)


class MemoryStore(base.Store):
    def __init__(self) -> None:
        self._state = _State()
        self._writing = threading.RLock()
        self._open = False

    @contextmanager
    def transaction(self) -> Iterator[base.Transaction]:
        with self._writing:
            if self._open:
                raise StoreError("a transaction is open in this thread; end it first")
            self._open = True
            try:
                draft = self._state.copy()
                yield _MemoryTransaction(draft)
                self._state = draft
            finally:
                self._open = False

    def pods(self) -> tuple[PodRecord, ...]:
        return tuple(self._state.pods.values())

    def pod(self, pod_id: str) -> PodRecord:
        try:
            return self._state.pods[pod_id]
        except KeyError:
            raise base.no_such_pod(pod_id) from None

    def pod_ids(self) -> tuple[str, ...]:
        return tuple(self._state.pods)

    def execs(self, pod_id: str) -> tuple[ExecRecord, ...]:
        return tuple(self._state.execs.get(pod_id, {}).values())

    def events(self, *, after: int = 0, limit: int = 1000, pod_id: str = "") -> tuple[Event, ...]:
        events = self._state.events
        wanted = [event for event in events if event.seq > after and pod_id in {"", event.pod_id}]
        return tuple(wanted[:limit])

    def recent_events(self, *, limit: int, pod_id: str = "") -> tuple[Event, ...]:
        wanted = [event for event in self._state.events if pod_id in {"", event.pod_id}]
        return tuple(wanted[-limit:]) if limit > 0 else ()

    def last_seq(self) -> int:
        return self._state.last_seq

    @property
    def watch_path(self) -> Path | None:
        return None

    def close(self) -> None:
        """Nothing is held open."""


class _MemoryTransaction(base.Transaction):
    def __init__(self, state: _State) -> None:
        self._state = state

    def pod(self, pod_id: str) -> PodRecord:
        try:
            return self._state.pods[pod_id]
        except KeyError:
            raise base.no_such_pod(pod_id) from None

    def add_pod(self, record: PodRecord) -> None:
        if record.id in self._state.pods:
            raise base.pod_exists(record.id)
        self._state.pods[record.id] = replace(record, containers=())
        for container in record.containers:
            self.add_container(record.id, container)

    def save_pod(self, record: PodRecord) -> None:
        containers = self.pod(record.id).containers
        self._state.pods[record.id] = replace(record, containers=containers)

    def drop_pod(self, pod_id: str) -> None:
        self._state.pods.pop(pod_id, None)
        self._state.execs.pop(pod_id, None)

    def container(self, pod_id: str, container_id: str) -> ContainerRecord:
        for record in self.pod(pod_id).containers:
            if record.id == container_id:
                return record
        raise base.no_such_container(pod_id, container_id)

    def add_container(self, pod_id: str, record: ContainerRecord) -> None:
        pod = self.pod(pod_id)
        if any(each.id == record.id for each in pod.containers):
            raise base.container_exists(pod_id, record.id)
        self._state.pods[pod_id] = replace(pod, containers=(*pod.containers, record))

    def save_container(self, pod_id: str, record: ContainerRecord) -> None:
        old = self.container(pod_id, record.id)
        pod = self.pod(pod_id)
        containers = tuple(record if each is old else each for each in pod.containers)
        self._state.pods[pod_id] = replace(pod, containers=containers)

    def drop_container(self, pod_id: str, container_id: str) -> None:
        pod = self._state.pods.get(pod_id)
        if pod is None:
            return
        containers = tuple(each for each in pod.containers if each.id != container_id)
        self._state.pods[pod_id] = replace(pod, containers=containers)
        execs = self._state.execs.get(pod_id, {})
        for token in [
            token for token, record in execs.items() if record.container_id == container_id
        ]:
            del execs[token]

    def execs(self, pod_id: str) -> tuple[ExecRecord, ...]:
        return tuple(self._state.execs.get(pod_id, {}).values())

    def save_exec(self, pod_id: str, record: ExecRecord) -> None:
        self.container(pod_id, record.container_id)
        execs = self._state.execs.setdefault(pod_id, {})
        execs[record.process.token] = record
        ended = [token for token, each in execs.items() if each.finished is not None]
        for token in ended[: -base.ENDED_EXECS_KEPT]:
            del execs[token]

    def emit(self, event: Event) -> None:
        self._state.last_seq += 1
        self._state.events.append(replace(event, seq=self._state.last_seq))
        del self._state.events[: -base.EVENTS_KEPT]
