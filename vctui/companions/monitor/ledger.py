"""What the monitor writes into the store, each entry one short transaction.

It never takes a pod's lock: an engine that holds it may be waiting for us. So each entry reads
the record again inside its transaction and changes only what it knows better.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from vctui.errors import NotFound
from vctui.model.container import ContainerRecord, ExecRecord
from vctui.model.events import Event, EventKind
from vctui.model.state import LIVE, State
from vctui.wire.monitor import Exit, StartShim

if TYPE_CHECKING:
    from vctui.model.pod import PodRecord
    from vctui.store.base import Store, Transaction

_ENDING: Final = frozenset({"stop", "delete"})


class Ledger:
    """The store, as the monitor of one pod uses it. Calls block; make them in a thread."""

    def __init__(self, store: Store, pod_id: str) -> None:
        self._store = store
        self._pod_id = pod_id

    def pod(self) -> PodRecord | None:
        """None when the pod was deleted."""
        try:
            return self._store.pod(self._pod_id)
        except NotFound:
            return None

    def live_processes(self) -> list[StartShim]:
        """Processes that a new monitor of a running machine has to stand for."""
        record = self.pod()
        if record is None:
            return []
        first = [
            StartShim(
                container_id=one.id,
                token=one.id,
                terminal=one.config.cmd.interactive,
                log=True,
                console=one.config.cmd.console,
            )
            for one in record.containers
            if one.state in LIVE
        ]
        added = [
            StartShim(
                container_id=one.container_id,
                token=one.process.token,
                terminal=one.cmd.interactive,
                log=False,
                console=one.cmd.console,
            )
            for one in self._store.execs(self._pod_id)
            if one.finished is None
        ]
        return first + added

    def stood_for(self, which: StartShim, pid: int) -> None:
        """Another host process stands for a process that runs."""
        with self._store.transaction() as tx:
            for one in tx.execs(self._pod_id):
                if one.process.token == which.token:
                    tx.save_exec(self._pod_id, _moved(one, pid))
            if which.token == which.container_id:
                with contextlib.suppress(NotFound):
                    container = tx.container(self._pod_id, which.container_id)
                    tx.save_container(self._pod_id, _moved(container, pid))

    def process_ended(self, which: StartShim, how: Exit) -> None:
        """A container's first process takes the container with it."""
        with self._store.transaction() as tx:
            if which.token == which.container_id:
                self._container_ended(tx, which.container_id, how)
            else:
                self._exec_ended(tx, which, how)

    def machine_ended(self, reason: str) -> bool:
        """The pod and all in it are stopped; False where somebody ends the machine on purpose
        and records that himself."""
        with self._store.transaction() as tx:
            try:
                record = tx.pod(self._pod_id)
            except NotFound:
                return False
            if _is_being_ended(record):
                return False
            tx.save_pod(
                msgspec.structs.replace(
                    record,
                    state=State.STOPPED,
                    reason=reason,
                    machine=None,
                    monitor_pid=0,
                    monitor_started=0.0,
                )
            )
            now = _now()
            for one in record.containers:
                ended = msgspec.structs.replace(one, devices=())
                if one.state in LIVE:
                    ended = msgspec.structs.replace(
                        ended, state=State.STOPPED, reason=reason, exit_code=None, finished=now
                    )
                if ended != one:
                    tx.save_container(self._pod_id, ended)
            for added in tx.execs(self._pod_id):
                if added.finished is None:
                    tx.save_exec(self._pod_id, msgspec.structs.replace(added, finished=now))
            self._emit(tx, EventKind.MACHINE_DIED, reason)
        return True

    def note(self, kind: EventKind, message: str) -> None:
        with self._store.transaction() as tx:
            self._emit(tx, kind, message)

    def close(self) -> None:
        self._store.close()

    def _container_ended(self, tx: Transaction, container_id: str, how: Exit) -> None:
        try:
            record = tx.container(self._pod_id, container_id)
        except NotFound:
            return
        if record.state is State.STOPPED:
            return
        tx.save_container(
            self._pod_id,
            msgspec.structs.replace(
                record,
                state=State.STOPPED,
                exit_code=how.exit_code,
                reason=how.reason,
                finished=_now(),
            ),
        )
        self._emit(tx, EventKind.CONTAINER_STOPPED, _words(how), container_id)

    def _exec_ended(self, tx: Transaction, which: StartShim, how: Exit) -> None:
        for record in tx.execs(self._pod_id):
            if record.process.token == which.token and record.finished is None:
                tx.save_exec(
                    self._pod_id,
                    msgspec.structs.replace(record, exit_code=how.exit_code, finished=_now()),
                )
                break
        self._emit(tx, EventKind.PROCESS_EXITED, _words(how), which.container_id, which.token)

    def _emit(
        self,
        tx: Transaction,
        kind: EventKind,
        message: str,
        container_id: str = "",
        token: str = "",
    ) -> None:
        tx.emit(
            Event(
                kind=kind,
                pod_id=self._pod_id,
                message=message,
                container_id=container_id,
                token=token,
                time=_now(),
            )
        )


_Stood = TypeVar("_Stood", ContainerRecord, ExecRecord)


def _moved(record: _Stood, pid: int) -> _Stood:
    if record.process is None:
        return record
    return msgspec.structs.replace(record, process=msgspec.structs.replace(record.process, pid=pid))


def _is_being_ended(record: PodRecord) -> bool:
    verb = record.operation.partition(" ")[0]
    # the second half of a restart is a start, and its machine should not end
    return verb in _ENDING or (verb == "restart" and record.state in LIVE)


def _words(how: Exit) -> str:
    if how.exit_code is None:
        return how.reason or "ended"
    return f"exited with {how.exit_code}" + (f": {how.reason}" if how.reason else "")


def _now() -> datetime:
    return datetime.now(UTC)
