"""Promises of the database file: private, shared by processes, survives kill -9, says what is
wrong with it."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from vctui.errors import DiskFull, StoreError
from vctui.linux import mounts
from vctui.model.container import Cmd, ContainerConfig, ContainerRecord
from vctui.model.events import Event, EventKind
from vctui.model.pod import PodConfig, PodRecord
from vctui.store import schema, sqlite
from vctui.store.sqlite import NAME, SqliteStore

NOW = datetime(2024, 2, 29, tzinfo=UTC)

WRITER = """
import sys
from pathlib import Path
from msgspec.structs import replace
from vctui.store.sqlite import SqliteStore
from tests_event import event
store = SqliteStore(Path(sys.argv[1]))
print("ready", flush=True)
for number in range(int(sys.argv[2])):
    with store.transaction() as transaction:
        record = transaction.pod("web")
        transaction.save_pod(replace(record, monitor_pid=record.monitor_pid + 1))
        transaction.emit(event(str(record.monitor_pid + 1)))
"""

EVENT = """
from datetime import UTC, datetime
from vctui.model.events import Event, EventKind
def event(message):
    now = datetime.now(UTC)
    return Event(kind=EventKind.WARNING, pod_id="web", message=message, time=now)
"""


def pod(pod_id: str, **fields) -> PodRecord:
    return PodRecord(config=PodConfig(id=pod_id), created=NOW, **fields)


def event(message: str) -> Event:
    return Event(kind=EventKind.WARNING, pod_id="web", message=message, time=NOW)


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def store(state):
    with closing(SqliteStore(state)) as store:
        yield store


@pytest.fixture
def writer(tmp_path, state):
    """Starts a process that counts up in a pod and writes an event of each number."""
    (tmp_path / "tests_event.py").write_text(EVENT)
    (tmp_path / "writer.py").write_text(WRITER)
    started = []

    def start(count: int) -> subprocess.Popen[bytes]:
        argv = [sys.executable, str(tmp_path / "writer.py"), str(state), str(count)]
        started.append(subprocess.Popen(argv, stdout=subprocess.PIPE))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_files_are_private(store, state):
    with store.transaction() as transaction:
        transaction.add_pod(pod("web"))
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in state.iterdir()}
    assert set(modes.values()) == {0o600}, modes


def test_it_is_there_again_when_opened_again(store, state):
    with store.transaction() as transaction:
        transaction.add_pod(pod("web"))
    store.close()
    with closing(SqliteStore(state)) as again:
        assert again.pod_ids() == ("web",)


def test_several_processes_write_at_once(store, writer):
    with store.transaction() as transaction:
        transaction.add_pod(pod("web"))
    writers = [writer(50) for _ in range(3)]
    assert [process.wait(60) for process in writers] == [0, 0, 0]
    assert store.pod("web").monitor_pid == 150
    assert [int(each.message) for each in store.events()] == list(range(1, 151))


def test_several_processes_make_the_database_at_once(state, tmp_path):
    code = (
        "import sys; from pathlib import Path; from vctui.store.sqlite import SqliteStore;"
        "SqliteStore(Path(sys.argv[1])).pods()"
    )
    makers = [subprocess.Popen([sys.executable, "-c", code, str(state)]) for _ in range(6)]
    assert [process.wait(60) for process in makers] == [0] * 6


def test_a_writer_killed_at_any_moment_leaves_whole_transactions(store, writer):
    with store.transaction() as transaction:
        transaction.add_pod(pod("web"))
    for _ in range(5):
        seen = store.last_seq()
        process = writer(1_000_000)
        assert process.stdout.readline() == b"ready\n"
        deadline = time.monotonic() + 30
        while store.last_seq() < seen + 20:
            assert time.monotonic() < deadline
        process.send_signal(signal.SIGKILL)
        process.wait()
        number = store.pod("web").monitor_pid
        assert store.recent_events(limit=1)[0].message == str(number)
        with store.transaction() as transaction:
            transaction.save_pod(replace(pod("web"), monitor_pid=number))
    with closing(sqlite3.connect(store.watch_path.parent / NAME)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_the_doorbell_rings_after_each_commit_and_not_after_a_rollback(store):
    def times():
        return store.watch_path.stat().st_mtime_ns

    def fail_at_the_end():
        with store.transaction() as transaction:
            transaction.add_pod(pod("web"))
            raise RuntimeError

    os.utime(store.watch_path, (0, 0))
    with pytest.raises(RuntimeError):
        fail_at_the_end()
    assert times() == 0
    with store.transaction() as transaction:
        transaction.add_pod(pod("web"))
        assert times() == 0
    assert times() > 0


def test_garbage_is_no_database(state):
    state.mkdir()
    (state / NAME).write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreError, match="not a database; restore it"):
        SqliteStore(state)


def test_a_damaged_page_is_told(store, state):
    with store.transaction() as transaction:
        for number in range(200):
            transaction.add_pod(pod(f"pod{number}"))
    store.close()
    size = (state / NAME).stat().st_size
    with (state / NAME).open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))
    with closing(SqliteStore(state)) as again, pytest.raises(StoreError, match="restore it"):
        again.pods()


def test_a_database_that_another_makes_at_the_same_time_is_ours(state, monkeypatch):
    state.mkdir(mode=0o700)
    (state / NAME).touch(0o600)
    connect, asked = sqlite._connect, []

    def watched(path):
        connection = connect(path)
        monkeypatch.setattr(sqlite, "_connect", connect)
        connection.set_trace_callback(interrupt)
        return connection

    def interrupt(statement):
        if statement.startswith("PRAGMA"):
            asked.append(statement)
            if len(asked) == 2:
                SqliteStore(state).close()

    monkeypatch.setattr(sqlite, "_connect", watched)
    with closing(SqliteStore(state)) as store:
        assert store.pods() == ()
    assert len(asked) > 2


def test_another_programs_database_is_left_alone(state):
    state.mkdir()
    with closing(sqlite3.connect(state / NAME)) as connection:
        connection.execute("PRAGMA application_id = 7")
        connection.execute("CREATE TABLE theirs (x)")
    before = (state / NAME).read_bytes()
    with pytest.raises(StoreError, match="another program"):
        SqliteStore(state)
    assert (state / NAME).read_bytes() == before


def test_a_newer_database_is_left_alone(store, state):
    store.close()
    with closing(sqlite3.connect(state / NAME)) as connection:
        connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    with pytest.raises(StoreError, match="newer vctui"):
        SqliteStore(state)


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="Not a directory"):
        SqliteStore(tmp_path / "file/state")


def test_a_record_that_cannot_be_read_is_named(store, state):
    with store.transaction() as transaction:
        transaction.add_pod(pod("web"))
    with closing(sqlite3.connect(state / NAME)) as connection, connection:
        connection.execute("UPDATE pods SET record = json_set(record, '$.state', 'upside-down')")
    with pytest.raises(StoreError, match=r"pod 'web'.*upside-down.*backup"):
        store.pods()


def test_keys_of_a_later_version_are_ignored_at_any_depth(store, state):
    config = ContainerConfig(id="app", rootfs="busybox", cmd=Cmd(args=("true",)))
    with store.transaction() as transaction:
        transaction.add_pod(pod("web", containers=(ContainerRecord(config=config),)))
    with closing(sqlite3.connect(state / NAME)) as connection, connection:
        connection.execute(
            "UPDATE pods SET record = json_set(record, '$.new', 1, '$.config.vm_config.new', 2)"
        )
        connection.execute(
            "UPDATE containers SET record = json_set(record, '$.config.cmd.capabilities', "
            'json(\'{"bounding": ["CAP_KILL"], "new": 3}\'), \'$.config.cmd.envs\', '
            'json(\'[{"var": "A", "value": "1", "new": 4}]\'))'
        )
    record = store.pod("web")
    assert record.containers[0].config.cmd.capabilities.bounding == ("CAP_KILL",)
    assert [str(each) for each in record.containers[0].config.cmd.envs] == ["A=1"]


def test_states_can_be_seen_with_sql(store, state):
    with store.transaction() as transaction:
        transaction.add_pod(pod("web"))
    with closing(sqlite3.connect(state / NAME)) as connection:
        assert connection.execute("SELECT id, state FROM pods").fetchall() == [("web", "ready")]


def test_a_database_that_another_process_holds_is_told(store, state, monkeypatch):
    store.close()
    monkeypatch.setattr("vctui.store.sqlite._BUSY_SECONDS", 0.05)
    with closing(sqlite3.connect(state / NAME, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked; another process"), store.transaction():
            pass


@pytest.mark.root
def test_a_full_disk_is_told_and_nothing_is_half_written(tmp_path):
    place = tmp_path / "full"
    place.mkdir()
    mounts.mount("tmpfs", str(place), "tmpfs", ["size=512k", "mode=0700"])
    try:
        with closing(SqliteStore(place)) as store:
            with store.transaction() as transaction:
                transaction.add_pod(pod("web"))

            def write_for_ever():
                while True:
                    with store.transaction() as transaction:
                        transaction.emit(event("x" * 10_000))
                        transaction.save_pod(pod("web", reason="half"))
                        transaction.emit(event("y" * 10_000))

            with pytest.raises(DiskFull, match="make room"):
                write_for_ever()
            assert len(store.events(limit=10_000)) % 2 == 0
            assert store.pod_ids() == ("web",)
    finally:
        mounts.unmount(place)


def test_a_hundred_pods_are_listed_quickly(store):
    with store.transaction() as transaction:
        for number in range(100):
            transaction.add_pod(pod(f"pod{number}"))
    store.pods()
    begun = time.perf_counter()
    assert len(store.pods()) == 100
    assert time.perf_counter() - begun < 0.1


def test_a_pod_that_nobody_has_changed_is_read_once(store, state):
    with store.transaction() as tx:
        for name in ("web", "db"):
            container = ContainerConfig(id="main", rootfs="busybox", cmd=Cmd(args=("true",)))
            tx.add_pod(
                PodRecord(
                    config=PodConfig(id=name),
                    created=NOW,
                    containers=(ContainerRecord(config=container),),
                )
            )
    web, db = store.pods()
    with closing(SqliteStore(state)) as other, other.transaction() as tx:
        tx.save_container("db", replace(tx.container("db", "main"), exit_code=7))
    again, changed = store.pods()
    assert again is web
    assert changed is not db
    assert changed.containers[0].exit_code == 7
    with store.transaction() as tx:
        tx.drop_pod("web")
    assert store.pods() == (changed,)
