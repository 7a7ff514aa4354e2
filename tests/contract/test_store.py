"""What every store promises, run over each of them."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from vctui.errors import AlreadyExists, NotFound, StoreError
from vctui.model.container import Cmd, ContainerConfig, ContainerRecord, ExecRecord, Process
from vctui.model.events import Event, EventKind
from vctui.model.hypervisor import Machine
from vctui.model.pod import PodConfig, PodRecord
from vctui.model.state import State
from vctui.store import base
from vctui.store.memory import MemoryStore
from vctui.store.sqlite import SqliteStore

NOW = datetime(2024, 2, 29, 12, 30, 15, 123456, UTC)


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "state")
    yield store
    store.close()


def container(container_id: str) -> ContainerRecord:
    config = ContainerConfig(id=container_id, rootfs="busybox", cmd=Cmd(args=("true",)))
    return ContainerRecord(config=config)


def pod(pod_id: str, *container_ids: str) -> PodRecord:
    containers = tuple(container(each) for each in container_ids)
    return PodRecord(config=PodConfig(id=pod_id), created=NOW, containers=containers)


def exec_record(container_id: str, token: str, *, ended: bool = False) -> ExecRecord:
    return ExecRecord(
        container_id=container_id,
        cmd=Cmd(args=("ps",)),
        process=Process(token=token, pid=7, start_time=NOW),
        exit_code=0 if ended else None,
        finished=NOW if ended else None,
    )


def event(message: str, pod_id: str = "web") -> Event:
    return Event(kind=EventKind.WARNING, pod_id=pod_id, message=message, time=NOW)


def test_a_pod_comes_back_as_it_was(store):
    machine = Machine(uuid="u", pid=12, pid_started=3.25, memory=256)
    record = replace(pod("web", "app", "side"), machine=machine, started=NOW, state=State.RUNNING)
    with store.transaction() as transaction:
        transaction.add_pod(record)
        assert transaction.pod("web") == record
    assert store.pod("web") == record
    assert store.pods() == (record,)


def test_pods_and_containers_stand_in_the_order_of_their_creation(store):
    for pod_id in ("zeta", "alpha", "mid"):
        with store.transaction() as transaction:
            transaction.add_pod(pod(pod_id, "z1", "a1"))
            transaction.add_container(pod_id, container("m1"))
    with store.transaction() as transaction:
        transaction.drop_pod("alpha")
        transaction.add_pod(pod("alpha"))
        transaction.save_pod(replace(transaction.pod("zeta"), reason="saved again"))
        transaction.save_container("mid", replace(container("z1"), reason="saved again"))
    assert store.pod_ids() == ("zeta", "mid", "alpha")
    assert [record.id for record in store.pods()] == ["zeta", "mid", "alpha"]
    assert [record.id for record in store.pod("mid").containers] == ["z1", "a1", "m1"]


def test_saving_a_pod_leaves_its_containers_alone(store):
    with store.transaction() as transaction:
        transaction.add_pod(pod("web", "app"))
        transaction.save_pod(replace(pod("web"), state=State.RUNNING))
    assert store.pod("web").state is State.RUNNING
    assert [record.id for record in store.pod("web").containers] == ["app"]


def test_a_failed_transaction_changes_nothing(store):
    with store.transaction() as transaction:
        transaction.add_pod(pod("web", "app"))
    before, seq = store.pods(), store.last_seq()

    def fail_at_the_end():
        with store.transaction() as transaction:
            transaction.save_pod(replace(pod("web"), state=State.RUNNING))
            transaction.drop_container("web", "app")
            transaction.add_pod(pod("other"))
            transaction.emit(event("never"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_at_the_end()
    assert store.pods() == before
    assert store.last_seq() == seq
    with store.transaction() as transaction:  # and the store goes on
        transaction.drop_pod("web")


def test_an_open_transaction_is_not_seen_by_others(store):
    seen = []
    with store.transaction() as transaction:
        transaction.add_pod(pod("web"))
        transaction.emit(event("created"))
        reader = threading.Thread(target=lambda: seen.append((store.pods(), store.last_seq())))
        reader.start()
        reader.join()
    assert seen == [((), 0)]
    assert store.last_seq() == 1


def test_writers_wait_for_each_other(store):
    with store.transaction() as transaction:
        transaction.add_pod(replace(pod("web"), monitor_pid=0))

    def count():
        for _ in range(25):
            with store.transaction() as transaction:
                record = transaction.pod("web")
                transaction.save_pod(replace(record, monitor_pid=record.monitor_pid + 1))

    writers = [threading.Thread(target=count) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert store.pod("web").monitor_pid == 100


def test_a_transaction_within_a_transaction_is_refused(store):
    with store.transaction() as outer:
        outer.add_pod(pod("web"))
        with pytest.raises(StoreError), store.transaction():
            pass
    assert store.pod_ids() == ("web",)


def test_what_is_not_there_is_named(store):
    with store.transaction() as transaction:
        transaction.add_pod(pod("web"))
        for call in (
            lambda: transaction.pod("nope"),
            lambda: transaction.save_pod(pod("nope")),
            lambda: transaction.container("nope", "app"),
            lambda: transaction.add_container("nope", container("app")),
            lambda: transaction.save_container("nope", container("app")),
            lambda: transaction.save_exec("nope", exec_record("app", "t1")),
        ):
            with pytest.raises(NotFound, match="no pod 'nope'"):
                call()
        for call in (
            lambda: transaction.container("web", "app"),
            lambda: transaction.save_container("web", container("app")),
            lambda: transaction.save_exec("web", exec_record("app", "t1")),
        ):
            with pytest.raises(NotFound, match="no container 'app'"):
                call()
    with pytest.raises(NotFound, match="no pod 'nope'"):
        store.pod("nope")


def test_what_is_there_already_is_named(store):
    with store.transaction() as transaction:
        transaction.add_pod(pod("web", "app"))
        with pytest.raises(AlreadyExists, match="pod 'web'"):
            transaction.add_pod(pod("web"))
        with pytest.raises(AlreadyExists, match="container 'app'"):
            transaction.add_container("web", container("app"))
    assert store.pod("web") == pod("web", "app")


def test_dropping_what_is_gone_harms_nothing(store):
    with store.transaction() as transaction:
        transaction.drop_pod("nope")
        transaction.drop_container("nope", "app")


def test_dropping_a_pod_drops_its_processes_but_not_its_events(store):
    with store.transaction() as transaction:
        transaction.add_pod(pod("web", "app"))
        transaction.save_exec("web", exec_record("app", "t1"))
        transaction.emit(event("created"))
        transaction.drop_pod("web")
        transaction.add_pod(pod("web", "app"))
    assert store.execs("web") == ()
    assert [each.message for each in store.events()] == ["created"]


def test_dropping_a_container_drops_its_processes(store):
    with store.transaction() as transaction:
        transaction.add_pod(pod("web", "app", "side"))
        transaction.save_exec("web", exec_record("app", "t1"))
        transaction.save_exec("web", exec_record("side", "t2"))
        transaction.drop_container("web", "app")
    assert [each.process.token for each in store.execs("web")] == ["t2"]
    assert [each.id for each in store.pod("web").containers] == ["side"]


def test_processes_are_replaced_by_token_and_keep_their_order(store):
    with store.transaction() as transaction:
        transaction.add_pod(pod("web", "app"))
        for token in ("t2", "t1", "t3"):
            transaction.save_exec("web", exec_record("app", token))
        transaction.save_exec("web", exec_record("app", "t2", ended=True))
        assert transaction.execs("web") == store_order(transaction.execs("web"))
    assert store.execs("web") == (
        exec_record("app", "t2", ended=True),
        exec_record("app", "t1"),
        exec_record("app", "t3"),
    )


def store_order(records):
    order = ("t2", "t1", "t3")
    return tuple(sorted(records, key=lambda each: order.index(each.process.token)))


def test_only_the_newest_ended_processes_are_kept(store):
    total = base.ENDED_EXECS_KEPT + 5
    with store.transaction() as transaction:
        transaction.add_pod(pod("web", "app"))
        transaction.save_exec("web", exec_record("app", "running"))
        for number in range(total):
            transaction.save_exec("web", exec_record("app", f"t{number}", ended=True))
    tokens = [each.process.token for each in store.execs("web")]
    assert tokens == ["running", *(f"t{number}" for number in range(5, total))]


def test_events_come_oldest_first_from_where_one_left_off(store):
    with store.transaction() as transaction:
        for number in range(10):
            transaction.emit(event(str(number), pod_id="odd" if number % 2 else "even"))
    everything = store.events()
    assert [each.message for each in everything] == [str(number) for number in range(10)]
    assert [each.seq for each in everything] == sorted(each.seq for each in everything)
    assert store.last_seq() == everything[-1].seq
    assert store.events(after=everything[6].seq) == everything[7:]
    assert store.events(limit=3) == everything[:3]
    assert [each.message for each in store.events(pod_id="odd", limit=2)] == ["1", "3"]
    assert store.recent_events(limit=3) == everything[-3:]
    assert [each.message for each in store.recent_events(limit=2, pod_id="even")] == ["6", "8"]
    assert store.recent_events(limit=0) == ()


def test_an_event_comes_back_as_it_was(store):
    written = replace(event("it\nhappened 🎉"), container_id="app", token="t1")
    with store.transaction() as transaction:
        transaction.emit(written)
    assert store.events() == (replace(written, seq=store.last_seq()),)


def test_old_events_are_forgotten(store, monkeypatch):
    monkeypatch.setattr(base, "EVENTS_KEPT", 100)
    with store.transaction() as transaction:
        for number in range(2048):
            transaction.emit(event(str(number)))
    assert [each.message for each in store.events()] == [str(n) for n in range(1948, 2048)]
