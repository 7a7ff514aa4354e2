"""The monitor's pure pieces, and its log files."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.companions.monitor.fanout import Fanout, Listener
from vctui.companions.monitor.lines import MAX_LINE, LineSplitter, clean, last_line
from vctui.companions.monitor.logfile import LogFile
from vctui.companions.monitor.replay import Replay
from vctui.companions.monitor.resync import Resync
from vctui.companions.monitor.verdict import Evidence, explain
from vctui.linux import mounts
from vctui.wire import ttrpc

chunks = st.lists(st.tuples(st.sampled_from((1, 2)), st.binary(max_size=20)), max_size=20)


@given(chunks, st.integers(0, 40), st.integers(0, 60))
def test_replay_is_the_end_of_what_was_added(added, capacity, limit):
    replay = Replay(capacity)
    for stream, data in added:
        replay.add(stream, data)
    whole = b"".join(bytes((stream,)) * len(data) for stream, data in added)
    text = b"".join(data for _, data in added)
    kept = min(capacity, limit, len(text))
    recent = replay.recent(limit)
    assert b"".join(data for _, data in recent) == text[len(text) - kept :]
    streams = b"".join(bytes((stream,)) * len(data) for stream, data in recent)
    assert streams == whole[len(whole) - kept :]


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


@given(
    st.binary(max_size=80),
    st.lists(st.binary(max_size=30), max_size=4),
    st.lists(st.integers(1, 30), max_size=10),
)
def test_a_cut_stream_is_read_on_from_the_expected_answer(leftover, bodies, sizes):
    expected = ttrpc.encode(4001, ttrpc.RESPONSE, b"\x12\x02\x08\x01")
    later = [ttrpc.encode(4003, ttrpc.RESPONSE, body) for body in bodies]
    resync = Resync()
    resync.expect(4001)
    frames = [
        frame
        for piece in cut(leftover + expected + b"".join(later), sizes)
        for frame in resync.feed(piece)
    ]
    assert resync.skipped == len(leftover)
    assert [frame.stream_id for frame in frames] == [4001] + [4003] * len(bodies)
    assert [frame.data for frame in frames[1:]] == bodies


@given(st.lists(st.binary(max_size=64), max_size=20))
def test_bytes_without_the_expected_answer_are_skipped_and_not_kept(pieces):
    resync = Resync()
    resync.expect(2**32 - 1)
    assert [frame for piece in pieces for frame in resync.feed(piece)] == []
    assert resync.skipped <= sum(map(len, pieces))


@given(st.binary(max_size=300), st.lists(st.integers(1, 50), max_size=10))
def test_lines_do_not_depend_on_how_they_arrive(data, sizes):
    splitter = LineSplitter()
    lines = [line for piece in cut(data, sizes) for line in splitter.feed(piece)]
    assert b"\n".join([*lines, *(splitter.flush() or [b""])]) == data


def test_a_line_without_end_is_cut():
    splitter = LineSplitter()
    lines = splitter.feed(b"x" * (3 * MAX_LINE + 5) + b"\n")
    assert [len(line) for line in lines] == [MAX_LINE, MAX_LINE, MAX_LINE, 5]
    assert splitter.feed(b"y" * MAX_LINE) == [b"y" * MAX_LINE]


@given(st.binary(max_size=100))
def test_cleaned_text_holds_nothing_that_steers_a_terminal(data):
    text = clean(data)
    assert not any((ord(c) < 32 and c != "\t") or 127 <= ord(c) < 160 for c in text)


def test_the_last_line_is_the_last_that_says_something():
    assert last_line(b"one\ntwo \x1b[1m\n \r\n") == "two"
    assert last_line(b"a panic\nb\n", b"panic") == "a panic"
    assert last_line(b"") == ""
    assert len(last_line(b"z" * 5000)) == 300


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (Evidence(), "QEMU was killed (no shutdown event)"),
        (Evidence(stderr=b"x\noom\n"), "QEMU was killed (no shutdown event); oom"),
        (Evidence(shutdown="guest-shutdown"), "the guest powered itself off"),
        (Evidence(shutdown="wh\x00at"), "QEMU shut down (wh\x00at)"),
        (Evidence(panicked=True, console=b"bad\n"), "the guest kernel panicked; bad"),
        (
            Evidence(shutdown="guest-shutdown", console=b"Kernel panic - old\n"),
            "the guest powered itself off",
        ),
    ],
)
def test_the_verdict(seen, said):
    assert explain(seen) == said


class Warnings:
    def __init__(self) -> None:
        self.messages: list[str] = []

    def __call__(self, message: str) -> None:
        self.messages.append(message)


def test_a_log_is_rotated_and_one_old_file_is_kept(tmp_path: Path):
    warn = Warnings()
    log = LogFile(tmp_path / "logs" / "x.log", 10, warn)
    for record in (b"aaaaaaa\n", b"bbbbbbb\n", b"c\n", b"ddddddddddddddd\n"):
        log.write(record)
    log.close()
    assert (tmp_path / "logs" / "x.log").read_bytes() == b"ddddddddddddddd\n"
    assert (tmp_path / "logs" / "x.log.1").read_bytes() == b"bbbbbbb\nc\n"
    assert (tmp_path / "logs" / "x.log").stat().st_mode & 0o777 == 0o600
    assert warn.messages == []


def test_a_log_is_appended_to_after_it_was_closed(tmp_path: Path):
    for record in (b"one\n", b"two\n"):
        log = LogFile(tmp_path / "x.log", 100, Warnings())
        log.write(record)
        log.close()
    assert (tmp_path / "x.log").read_bytes() == b"one\ntwo\n"


def test_a_log_that_is_a_link_is_not_followed(tmp_path: Path):
    (tmp_path / "target").write_bytes(b"precious")
    (tmp_path / "x.log").symlink_to(tmp_path / "target")
    warn = Warnings()
    LogFile(tmp_path / "x.log", 100, warn).write(b"x\n")
    assert (tmp_path / "target").read_bytes() == b"precious"
    assert len(warn.messages) == 1


@pytest.mark.root
def test_a_full_disk_costs_output_but_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounts.mount("tmpfs", str(disk), "tmpfs", ("size=64k",))
    try:
        clock = [100.0]
        monkeypatch.setattr("time.monotonic", lambda: clock[0])
        warn = Warnings()
        log = LogFile(disk / "x.log", 1 << 20, warn)
        record = b"r" * 999 + b"\n"
        for _ in range(100):
            log.write(record)
        assert len(warn.messages) == 1
        assert warn.messages[0].endswith(
            "No space left on device; free some room and it goes on by itself"
        )
        content = (disk / "x.log").read_bytes()
        assert content == record * (len(content) // len(record)), "no half records"
        (disk / "x.log").write_bytes(b"")
        log.write(record)
        assert len(warn.messages) == 1, "not tried again too soon"
        clock[0] += 10
        log.write(record)
        log.close()
        assert "is written again" in warn.messages[1]
    finally:
        mounts.unmount(disk)


class Sink(Listener):
    def __init__(self) -> None:
        self.data = b""
        self.behind = False
        self.finished = False

    @property
    def is_behind(self) -> bool:
        return self.behind

    def deliver(self, stream: int, data: bytes) -> None:
        self.data += data

    def finish(self) -> None:
        self.finished = True


async def test_a_lossless_producer_waits_for_who_is_behind():
    fanout = Fanout(10, chunk_bytes=10, lossless=True)
    sink = Sink()
    fanout.join(sink, 0)
    sink.behind = True
    waiting = asyncio.create_task(fanout.room(5))
    await asyncio.sleep(0)
    assert not waiting.done()
    sink.behind = False
    fanout.wake()
    await waiting


async def test_a_lossless_producer_waits_for_its_first_listener_but_not_for_ever():
    fanout = Fanout(10, chunk_bytes=10, lossless=True)
    fanout.publish(1, b"0123456789")
    await fanout.room(0.01)
    fanout.publish(2, b"abcdefghij")
    await asyncio.wait_for(fanout.room(60), 1)
    sink = Sink()
    fanout.join(sink, 0)
    assert sink.data == b"0123456789abcdefghij"


async def test_a_logged_producer_never_waits():
    fanout = Fanout(10)
    sink = Sink()
    sink.behind = True
    fanout.join(sink, 0)
    fanout.publish(1, b"x" * 100)
    await asyncio.wait_for(fanout.room(60), 1)
    fanout.finish()
    assert sink.finished
