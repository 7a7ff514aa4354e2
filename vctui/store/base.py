"""Store: the promises of what survives a restart (design: one database a host)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from vctui.errors import AlreadyExists, NotFound
from vctui.model.container import ContainerRecord, ExecRecord
from vctui.model.events import Event
from vctui.model.pod import PodRecord

ENDED_EXECS_KEPT: Final = 32
"""Of one pod."""
EVENTS_KEPT: Final = 100_000
"""Newest of all pods; about 20 MB."""


class Transaction(ABC):
    """Everything done through one is seen by others together or not at all."""

    @abstractmethod
    def pod(self, pod_id: str) -> PodRecord:
        """Raises NotFound."""

    @abstractmethod
    def add_pod(self, record: PodRecord) -> None:
        """Raises AlreadyExists."""

    @abstractmethod
    def save_pod(self, record: PodRecord) -> None:
        """Replace the pod's own fields; `record.containers` is ignored. Raises NotFound."""

    @abstractmethod
    def drop_pod(self, pod_id: str) -> None:
        """Forget the pod with its containers and processes; its events stay."""

    @abstractmethod
    def container(self, pod_id: str, container_id: str) -> ContainerRecord:
        """Raises NotFound."""

    @abstractmethod
    def add_container(self, pod_id: str, record: ContainerRecord) -> None:
        """Append to the pod's containers. Raises NotFound, AlreadyExists."""

    @abstractmethod
    def save_container(self, pod_id: str, record: ContainerRecord) -> None:
        """Raises NotFound."""

    @abstractmethod
    def drop_container(self, pod_id: str, container_id: str) -> None:
        """Forget the container and its exec records."""

    @abstractmethod
    def execs(self, pod_id: str) -> tuple[ExecRecord, ...]:
        """In the order of their start."""

    @abstractmethod
    def save_exec(self, pod_id: str, record: ExecRecord) -> None:
        """Add, or replace by token. Only the newest few ended ones of a pod are kept.
        Raises NotFound where there is no such container (any more)."""

    @abstractmethod
    def emit(self, event: Event) -> None:
        """Append to the event log; the store gives `seq`."""


class Store(ABC):
    """Safe to use from several threads and processes at once."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[Transaction]:
        """Begin a write transaction; commits at the end of the block, rolls back on an
        exception. Other writers wait. Keep it short: no I/O but the store's within."""

    @abstractmethod
    def pods(self) -> tuple[PodRecord, ...]:
        """All pods in the order of their creation, a consistent snapshot."""

    @abstractmethod
    def pod(self, pod_id: str) -> PodRecord:
        """Raises NotFound."""

    @abstractmethod
    def pod_ids(self) -> tuple[str, ...]: ...

    @abstractmethod
    def execs(self, pod_id: str) -> tuple[ExecRecord, ...]: ...

    @abstractmethod
    def events(self, *, after: int = 0, limit: int = 1000, pod_id: str = "") -> tuple[Event, ...]:
        """Events with `seq` over `after`, oldest first, at most `limit`."""

    @abstractmethod
    def recent_events(self, *, limit: int, pod_id: str = "") -> tuple[Event, ...]:
        """The newest `limit` events, oldest first."""

    @abstractmethod
    def last_seq(self) -> int:
        """Seq of the newest event; 0 when there is none. Cheap."""

    @property
    @abstractmethod
    def watch_path(self) -> Path | None:
        """A file whose times change after each commit by anybody, to be watched with inotify;
        None where only this process can write. A writer that is killed between its commit and
        this leaves it unchanged: look at `last_seq` now and then, too."""

    @abstractmethod
    def close(self) -> None: ...


def no_such_pod(pod_id: str) -> NotFound:
    return NotFound(f"there is no pod {pod_id!r}; `vctui pod list` shows those there are")


def no_such_container(pod_id: str, container_id: str) -> NotFound:
    return NotFound(
        f"pod {pod_id!r} has no container {container_id!r}; "
        f"`vctui container list {pod_id}` shows those it has"
    )


def pod_exists(pod_id: str) -> AlreadyExists:
    return AlreadyExists(f"pod {pod_id!r} already exists; delete it first or choose another id")


def container_exists(pod_id: str, container_id: str) -> AlreadyExists:
    return AlreadyExists(
        f"pod {pod_id!r} already has a container {container_id!r}; "
        "delete it first or choose another id"
    )
