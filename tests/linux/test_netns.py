"""Promises of network namespaces: kept by a path, entered by a thread of its own, gone for good."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from vctui.linux import mounts, netns, process

pytestmark = pytest.mark.root


@pytest.fixture
def path(tmp_path: Path):
    place = tmp_path / "netns"
    netns.create(place)
    yield place
    netns.remove(place)


def current() -> str:
    return str(Path("/proc/thread-self/ns/net").readlink())


def names() -> list[str]:
    return [name for _, name in socket.if_nameindex()]


def test_a_new_namespace_has_a_loopback_device_that_is_up(path: Path):
    def reach_itself() -> bytes:
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            socket.create_connection(server.getsockname()) as client,
            server.accept()[0] as accepted,
        ):
            client.sendall(b"x")
            return accepted.recv(1)

    assert netns.inside(path, names) == ["lo"]
    assert netns.inside(path, reach_itself) == b"x"


def test_our_own_threads_stay_where_they_are(path: Path):
    before = current()
    inside = netns.inside(path, current)
    assert inside != before
    assert current() == before
    assert not [one for one in threading.enumerate() if one.name == "netns"]


def test_what_is_started_apart_has_a_namespace_that_ends_with_it():
    before = current()
    with netns.apart(subprocess.Popen, ["sleep", "60"]) as started:
        there = str(Path(f"/proc/{started.pid}/ns/net").readlink())
        started.kill()
    assert there != before
    assert current() == before


def test_what_is_raised_inside_comes_out(path: Path):
    with pytest.raises(ZeroDivisionError):
        netns.inside(path, lambda: 1 // 0)


def test_namespaces_are_told_from_other_files(path: Path, tmp_path: Path):
    (tmp_path / "file").write_text("")
    assert netns.is_namespace(path)
    assert not netns.is_namespace(tmp_path / "file")
    assert not netns.is_namespace(Path("/proc/self/ns/mnt"))
    assert netns.is_own(Path("/proc/self/ns/net"))
    assert not netns.is_own(path)
    with pytest.raises(FileNotFoundError):
        netns.is_namespace(tmp_path / "missing")


def test_removing_leaves_nothing_and_may_be_done_twice(tmp_path: Path):
    path = tmp_path / "netns"
    netns.create(path)
    netns.remove(path)
    netns.remove(path)
    assert list(tmp_path.iterdir()) == []
    assert mounts.mounts_below(tmp_path) == ()


def test_a_path_that_is_taken_is_left_alone(tmp_path: Path):
    (tmp_path / "netns").write_text("mine")
    with pytest.raises(FileExistsError):
        netns.create(tmp_path / "netns")
    assert (tmp_path / "netns").read_text() == "mine"


async def test_a_call_that_is_cancelled_has_ended_when_that_is_told(path: Path):
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        may_end.wait(10)
        ended.set()

    call = asyncio.create_task(netns.call(path, work))
    await asyncio.to_thread(begun.wait)
    call.cancel()
    asyncio.get_running_loop().call_later(0.05, may_end.set)
    with pytest.raises(asyncio.CancelledError):
        await call
    assert ended.is_set()


async def test_a_session_starts_processes_in_the_namespace(path: Path):
    done = await netns.session(path, lambda: process.run(["readlink", "/proc/self/ns/net"]))
    assert done.stdout.decode().strip() == netns.inside(path, current)


async def test_a_session_that_is_cancelled_ends_its_processes(path: Path, tmp_path: Path):
    mark = tmp_path / "pid"
    script = f"echo $$ > {mark}.new; mv {mark}.new {mark}; sleep 1000"
    session = asyncio.create_task(netns.session(path, lambda: process.run(["sh", "-c", script])))
    async with asyncio.timeout(10):
        while not mark.exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.01)
    session.cancel()
    begun = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await session
    assert time.monotonic() - begun < 10
    assert not Path(f"/proc/{mark.read_text().strip()}").exists()


def test_an_occupant_can_be_found_by_its_process(path: Path):
    with netns.occupied(path) as pid:
        inside = netns.inside(path, current)
        assert str(Path(f"/proc/{pid}/ns/net").readlink()) == inside
    assert not Path(f"/proc/{pid}").exists()
