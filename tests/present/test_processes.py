from datetime import UTC, datetime

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from vctui.model.container import Cmd, ExecRecord, Process
from vctui.present import processes
from vctui.present.processes import GuestProcess

WHEN = datetime(2026, 1, 1, tzinfo=UTC)

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
_row = st.dictionaries(st.sampled_from(["pid", "ppid", "user", "args", "cpu_ms", "rss_kib"]), _json)


def record(token: str, *args: str, container_id: str = "main", ended: bool = False) -> ExecRecord:
    return ExecRecord(
        container_id=container_id,
        cmd=Cmd(args=args),
        process=Process(token=token, pid=1, start_time=WHEN),
        exit_code=0 if ended else None,
    )


def test_rows_of_our_agent_are_read() -> None:
    data = b'[{"pid": 7, "ppid": 1, "user": "root", "state": "S", "cpu_ms": 5, "rss_kib": 640,'
    data += b' "started": "x", "args": "sleep 1"}]'
    assert processes.parse(data) == (
        GuestProcess(
            pid=7, ppid=1, user="root", state="S", cpu_ms=5, rss_kib=640, started="x",
            args="sleep 1",
        ),
    )  # fmt: skip


def test_bare_pids_of_a_kata_1_agent_are_read() -> None:
    assert processes.parse(b"[1, 42]") == (GuestProcess(pid=1), GuestProcess(pid=42))


def test_control_sequences_in_names_are_removed() -> None:
    (process,) = processes.parse(b'[{"pid": 1, "args": "\\u001b[2Jgone"}]')
    assert process.args == "gone"


@given(st.binary())
def test_any_bytes_give_a_list(data: bytes) -> None:
    processes.parse(data)


@settings(max_examples=50)
@given(st.lists(_row | _json))
def test_any_document_gives_sane_processes(document: object) -> None:
    for process in processes.parse(msgspec.json.encode(document)):
        assert process.pid > 0
        assert len(process.args) <= 400


def test_a_flood_is_cut() -> None:
    data = msgspec.json.encode(list(range(1, processes.MAX_PROCESSES + 1000)))
    assert len(processes.parse(data)) == processes.MAX_PROCESSES


def test_an_exec_is_known_by_its_command() -> None:
    listed = (GuestProcess(pid=9, args="/bin/sh"), GuestProcess(pid=1, args="init"))
    marked = processes.with_tokens(listed, [record("t1", "/bin/sh")], "main")
    assert [(one.pid, one.token) for one in marked] == [(1, ""), (9, "t1")]


def test_two_equal_execs_take_a_process_each_in_order() -> None:
    listed = (GuestProcess(pid=9, args="sh"), GuestProcess(pid=5, args="sh"))
    marked = processes.with_tokens(listed, [record("t1", "sh"), record("t2", "sh")], "main")
    assert [(one.pid, one.token) for one in marked] == [(5, "t1"), (9, "t2")]


def test_ended_execs_and_other_containers_mark_nothing() -> None:
    listed = (GuestProcess(pid=9, args="sh"),)
    execs = [record("t1", "sh", ended=True), record("t2", "sh", container_id="other")]
    assert processes.with_tokens(listed, execs, "main")[0].token == ""
