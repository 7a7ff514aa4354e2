"""One SQLite database for all pods of a host: a change and its event in one transaction.

WAL, so that readers never wait; `synchronous=NORMAL`, so that a commit costs no fsync:
killing a process loses nothing, a power cut may lose the last commits but never half of one
(and the pods' machines do not survive it either).
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from vctui.errors import DiskFull, StoreError, VctuiError
from vctui.linux import files, locks
from vctui.linux.problems import host_problem
from vctui.model.container import ContainerRecord, ExecRecord
from vctui.model.events import Event, EventKind
from vctui.model.pod import PodRecord
from vctui.store import base, schema
from vctui.store.codec import decode, encode

NAME: Final = "vctui.db"
_BUSY_SECONDS: Final = 10.0
_PRUNE_EVERY: Final = 1024
_KINDS: Final = frozenset(EventKind)
_LITTLE_ROOM: Final = 1024 * 1024
_Rows = tuple[str, tuple[tuple[str, str], ...]]
"""The texts of a pod and of its containers, those with their ids."""
_EVENT_COLUMNS: Final = "seq, time, kind, pod_id, container_id, token, message"


class SqliteStore(base.Store):
    """`<state_dir>/vctui.db`; made where it is missing.

    Raises:
        StoreError: the database is damaged, of a newer vctui, or closed to us.
        DiskFull: from any call that writes.
    """

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / NAME
        self._bell = state_dir / "doorbell"
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._read: dict[str, tuple[_Rows, PodRecord]] = {}
        try:
            with _explained(self._path):
                files.private_dir(state_dir)
                self._prepare()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[base.Transaction]:
        connection = self._connection()
        with _explained(self._path):
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield _SqliteTransaction(connection)
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # SQLite may have rolled back by itself
                    connection.execute("ROLLBACK")
                raise
        self._ring()

    def pods(self) -> tuple[PodRecord, ...]:
        """A record that has not changed since the last call is the same object: of a thousand
        pods, those are decoded that somebody has changed."""
        with self._snapshot() as connection:
            pods = connection.execute("SELECT id, record FROM pods ORDER BY position").fetchall()
            rows = connection.execute("SELECT pod_id, id, record FROM containers ORDER BY position")
            containers: dict[str, list[tuple[str, str]]] = {}
            for pod_id, container_id, text in rows:
                containers.setdefault(pod_id, []).append((container_id, text))
        before, found = self._read, {}
        for pod_id, text in pods:
            of_pod = (text, tuple(containers.get(pod_id, ())))
            known = before.get(pod_id)
            if known is None or known[0] != of_pod:
                known = (of_pod, _decoded(pod_id, *of_pod))
            found[pod_id] = known
        self._read = found
        return tuple(record for _, record in found.values())

    def pod(self, pod_id: str) -> PodRecord:
        with self._snapshot() as connection:
            return _read_pod(connection, pod_id)

    def pod_ids(self) -> tuple[str, ...]:
        with self._snapshot() as connection:
            rows = connection.execute("SELECT id FROM pods ORDER BY position")
            return tuple(pod_id for (pod_id,) in rows)

    def execs(self, pod_id: str) -> tuple[ExecRecord, ...]:
        with self._snapshot() as connection:
            return _read_execs(connection, pod_id)

    def events(self, *, after: int = 0, limit: int = 1000, pod_id: str = "") -> tuple[Event, ...]:
        return self._events("seq > ?", (after,), pod_id, "seq ASC", limit)

    def recent_events(self, *, limit: int, pod_id: str = "") -> tuple[Event, ...]:
        return self._events("seq > 0", (), pod_id, "seq DESC", limit)[::-1]

    def last_seq(self) -> int:
        with self._snapshot() as connection:
            (seq,) = connection.execute("SELECT max(seq) FROM events").fetchone()
            return seq or 0

    @property
    def watch_path(self) -> Path | None:
        return self._bell

    def close(self) -> None:
        while self._connections:
            self._connections.pop().close()
        self._local = threading.local()

    def _events(
        self, where: str, values: tuple[int, ...], pod_id: str, order: str, limit: int
    ) -> tuple[Event, ...]:
        arguments: tuple[int | str, ...] = values
        if pod_id:
            where, arguments = f"{where} AND pod_id = ?", (*values, pod_id)
        query = f"SELECT {_EVENT_COLUMNS} FROM events WHERE {where} ORDER BY {order} LIMIT ?"  # noqa: S608
        with self._snapshot() as connection:
            rows = connection.execute(query, (*arguments, max(limit, 0)))
            return tuple(_event(*row) for row in rows)

    @contextmanager
    def _snapshot(self) -> Iterator[sqlite3.Connection]:
        """All that is read within the block is of one moment."""
        connection = self._connection()
        with _explained(self._path):
            if connection.in_transaction:
                yield connection
                return
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("COMMIT")

    def _connection(self) -> sqlite3.Connection:
        """The calling thread's own."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            with _explained(self._path):
                connection = self._local.connection = _connect(self._path)
            self._connections.append(connection)
        return connection

    def _prepare(self) -> None:
        """Bring the database to the version that we know.

        Under a file lock: switching to WAL does not wait for others as other statements do.
        """
        if not self._path.exists() or self._version() < schema.VERSION:
            with locks.exclusive_blocking(self._path.with_suffix(".lock")):
                if not self._path.exists():
                    os.close(os.open(self._path, os.O_CREAT | os.O_CLOEXEC, 0o600))
                    self._bell.touch(0o600)
                self._migrate()
        if self._version() > schema.VERSION:
            raise StoreError(
                f"the database {self._path} was written by a newer vctui; use that version, "
                "or another folder with --state-dir"
            )

    def _version(self) -> int:
        connection = self._connection()
        # in this order: somebody may make the database between the two
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        if application not in {0, schema.APPLICATION_ID} or (version and not application):
            raise StoreError(
                f"{self._path} is the database of another program; "
                "move it away or use another folder with --state-dir"
            )
        return int(version)

    def _migrate(self) -> None:
        version = self._version()
        connection = self._connection()
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        for statements in schema.MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {max(version, schema.VERSION)}")
        connection.execute("COMMIT")

    def _ring(self) -> None:
        """Only after the commit: who wakes up by it must find the change."""
        with suppress(OSError):
            self._bell.touch(0o600)


class _SqliteTransaction(base.Transaction):
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def pod(self, pod_id: str) -> PodRecord:
        return _read_pod(self._connection, pod_id)

    def add_pod(self, record: PodRecord) -> None:
        text = encode(replace(record, containers=()))
        try:
            self._execute("INSERT INTO pods (id, record) VALUES (?, ?)", record.id, text)
        except sqlite3.IntegrityError as error:
            raise base.pod_exists(record.id) from error
        for container in record.containers:
            self.add_container(record.id, container)

    def save_pod(self, record: PodRecord) -> None:
        text = encode(replace(record, containers=()))
        if not self._execute("UPDATE pods SET record = ? WHERE id = ?", text, record.id):
            raise base.no_such_pod(record.id)

    def drop_pod(self, pod_id: str) -> None:
        self._execute("DELETE FROM pods WHERE id = ?", pod_id)

    def container(self, pod_id: str, container_id: str) -> ContainerRecord:
        row = self._connection.execute(
            "SELECT record FROM containers WHERE pod_id = ? AND id = ?", (pod_id, container_id)
        ).fetchone()
        if row is None:
            self._require_pod(pod_id)
            raise base.no_such_container(pod_id, container_id)
        return _container(pod_id, container_id, row[0])

    def add_container(self, pod_id: str, record: ContainerRecord) -> None:
        self._require_pod(pod_id)
        values = (pod_id, record.id, encode(record))
        try:
            self._execute("INSERT INTO containers (pod_id, id, record) VALUES (?, ?, ?)", *values)
        except sqlite3.IntegrityError as error:
            raise base.container_exists(pod_id, record.id) from error

    def save_container(self, pod_id: str, record: ContainerRecord) -> None:
        statement = "UPDATE containers SET record = ? WHERE pod_id = ? AND id = ?"
        if not self._execute(statement, encode(record), pod_id, record.id):
            self._require_pod(pod_id)
            raise base.no_such_container(pod_id, record.id)

    def drop_container(self, pod_id: str, container_id: str) -> None:
        self._execute("DELETE FROM containers WHERE pod_id = ? AND id = ?", pod_id, container_id)

    def execs(self, pod_id: str) -> tuple[ExecRecord, ...]:
        return _read_execs(self._connection, pod_id)

    def save_exec(self, pod_id: str, record: ExecRecord) -> None:
        values = (pod_id, record.container_id, record.process.token, encode(record))
        try:
            self._execute(
                "INSERT INTO execs (pod_id, container_id, token, record) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (pod_id, token) DO UPDATE SET record = excluded.record",
                *values,
            )
        except sqlite3.IntegrityError as error:
            self._require_pod(pod_id)
            raise base.no_such_container(pod_id, record.container_id) from error
        self._execute(
            "DELETE FROM execs WHERE position IN (SELECT position FROM execs"
            " WHERE pod_id = ? AND finished IS NOT NULL ORDER BY position DESC"
            " LIMIT -1 OFFSET ?)",
            pod_id,
            base.ENDED_EXECS_KEPT,
        )

    def emit(self, event: Event) -> None:
        cursor = self._connection.execute(
            "INSERT INTO events (time, kind, pod_id, container_id, token, message)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                event.time.isoformat(),
                str(event.kind),
                event.pod_id,
                event.container_id,
                event.token,
                event.message,
            ),
        )
        seq = cursor.lastrowid or 0
        if seq % _PRUNE_EVERY == 0:
            self._execute("DELETE FROM events WHERE seq <= ?", seq - base.EVENTS_KEPT)

    def _require_pod(self, pod_id: str) -> None:
        found = self._connection.execute("SELECT 1 FROM pods WHERE id = ?", (pod_id,))
        if found.fetchone() is None:
            raise base.no_such_pod(pod_id)

    def _execute(self, statement: str, *values: str | int) -> int:
        return self._connection.execute(statement, values).rowcount


def _connect(path: Path) -> sqlite3.Connection:
    """Connections are closed by the thread that closes the store, hence no thread check."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _read_pod(connection: sqlite3.Connection, pod_id: str) -> PodRecord:
    row = connection.execute("SELECT record FROM pods WHERE id = ?", (pod_id,)).fetchone()
    if row is None:
        raise base.no_such_pod(pod_id)
    containers = connection.execute(
        "SELECT id, record FROM containers WHERE pod_id = ? ORDER BY position", (pod_id,)
    )
    return _decoded(pod_id, row[0], containers)


def _read_execs(connection: sqlite3.Connection, pod_id: str) -> tuple[ExecRecord, ...]:
    rows = connection.execute(
        "SELECT token, record FROM execs WHERE pod_id = ? ORDER BY position", (pod_id,)
    )
    return tuple(decode(text, ExecRecord, f"process {token!r}") for token, text in rows)


def _decoded(pod_id: str, text: str, containers: Iterable[tuple[str, str]]) -> PodRecord:
    """Args: containers: id and text of each."""
    record = decode(text, PodRecord, f"pod {pod_id!r}")
    decoded = tuple(_container(pod_id, container_id, each) for container_id, each in containers)
    return replace(record, containers=decoded) if decoded else record


def _container(pod_id: str, container_id: str, text: str) -> ContainerRecord:
    return decode(text, ContainerRecord, f"container {container_id!r} of pod {pod_id!r}")


def _event(
    seq: int, time: str, kind: str, pod_id: str, container_id: str, token: str, message: str
) -> Event:
    return Event(
        seq=seq,
        time=datetime.fromisoformat(time),
        kind=EventKind(kind) if kind in _KINDS else EventKind.WARNING,  # a later vctui has more
        pod_id=pod_id,
        container_id=container_id,
        token=token,
        message=message,
    )


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """What SQLite or the kernel say → StoreError or DiskFull."""
    try:
        yield
    except VctuiError:
        raise
    except sqlite3.Error as error:
        raise _problem(error, path) from error
    except OSError as error:
        problem = host_problem(error, f"use the database {path}")
        raise problem if isinstance(problem, DiskFull) else StoreError(str(problem)) from error


def _problem(error: sqlite3.Error, path: Path) -> VctuiError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    why = f"cannot use the database {path}: {error}"
    no_room = code == sqlite3.SQLITE_IOERR and files.room(path) < _LITTLE_ROOM
    if code == sqlite3.SQLITE_FULL or no_room:
        return DiskFull(f"{why}; make room on its disk and try again")
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return StoreError(f"{why}; restore it from a backup, or move it away to begin anew")
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return StoreError(f"{why}; another process holds it, end that one and try again")
    if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}:
        return StoreError(f"{why}; see to the permissions of {path.parent}, or use --state-dir")
    return StoreError(f"{why}; `vctui doctor` looks for the cause")
