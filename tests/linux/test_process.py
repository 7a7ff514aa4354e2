"""Promises of processes: detached, reaped, never mistaken for another one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vctui.linux import process

SLEEP = ("sleep", "60")
STAY = ("sh", "-c", "kill -STOP $$; :", "name")
"""Takes any arguments, and has no children."""


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nothing of ours happens that could be awaited
            await asyncio.sleep(0.005)


def is_gone(pid: int) -> bool:
    """Whether the process has ended and was reaped, by whomever."""
    return not Path(f"/proc/{pid}").exists()


def descriptors(pid: int) -> set[int]:
    return {int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()}


def link(pid: int, name: str) -> str:
    return str(Path(f"/proc/{pid}/{name}").readlink())


@pytest.fixture
async def started():
    """Processes that are ended when the test is over."""
    found: list[process.Spawned] = []
    yield found
    for each in found:
        await process.terminate(each.pid, each.started, timeout=0)


async def test_a_detached_process_has_its_own_session_and_folder(started):
    spawned = process.spawn_detached(SLEEP)
    started.append(spawned)
    assert os.getsid(spawned.pid) == spawned.pid
    assert link(spawned.pid, "cwd") == "/"
    assert link(spawned.pid, "fd/0") == "/dev/null"
    assert process.is_alive(spawned.pid, spawned.started)
    assert process.start_time(spawned.pid) == spawned.started


async def test_a_detached_process_gets_only_the_descriptors_that_are_passed(started, tmp_path):
    kept, other = os.pipe()
    os.set_inheritable(other, True)  # as a shell's `exec 9>lock` would leave it
    try:
        spawned = process.spawn_detached(SLEEP, pass_fds=(kept,))
        started.append(spawned)
        # its dynamic loader opens others for a moment
        await until(lambda: descriptors(spawned.pid) == {0, 1, 2, kept})
    finally:
        os.close(kept)
        os.close(other)


async def test_output_and_environment_are_as_given(tmp_path):
    with (tmp_path / "out").open("wb") as out:
        spawned = process.spawn_detached(
            ("/bin/sh", "-c", "pwd; echo $WORD; echo oops >&2"),
            stdout=out,
            stderr=out,
            env={"WORD": "given"},
            cwd=tmp_path,
        )
    assert await process.wait_end(spawned.pid, spawned.started) == 0
    assert (tmp_path / "out").read_text() == f"{tmp_path}\ngiven\noops\n"


async def test_the_end_of_a_child_is_told_with_its_status():
    spawned = process.spawn_detached(("/bin/sh", "-c", "exit 3"))
    assert await process.wait_end(spawned.pid, spawned.started) == 3
    spawned = process.spawn_detached(("/bin/sh", "-c", "kill -9 $$"))
    assert await process.wait_end(spawned.pid, spawned.started) == -9
    assert await process.wait_end(spawned.pid, spawned.started) == -9  # asked once more


async def test_a_child_that_ended_leaves_no_zombie():
    spawned = process.spawn_detached(("true",))
    await until(lambda: is_gone(spawned.pid))  # nobody waits for it but the reaper


async def test_a_program_that_is_missing_is_an_error():
    with pytest.raises(FileNotFoundError):
        process.spawn_detached(("/no/such/program",))


async def test_terminate_asks_first_and_kills_then(started, tmp_path):
    polite = process.spawn_detached(SLEEP)
    await process.terminate(polite.pid, polite.started, timeout=10)
    assert await process.wait_end(polite.pid, polite.started) == -signal.SIGTERM

    ready = tmp_path / "ready"
    code = (
        "import signal, pathlib, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "pathlib.Path(sys.argv[1]).touch(); signal.pause()"
    )
    deaf = process.spawn_detached((sys.executable, "-c", code, ready))
    started.append(deaf)
    await until(ready.exists)
    await process.terminate(deaf.pid, deaf.started, timeout=0.05)
    assert await process.wait_end(deaf.pid, deaf.started) == -signal.SIGKILL
    await process.terminate(deaf.pid, deaf.started, timeout=1)  # once more does no harm


async def test_a_pid_that_was_given_again_is_left_alone(started):
    spawned = process.spawn_detached(SLEEP)
    started.append(spawned)
    other = spawned.started - 1
    assert not process.is_alive(spawned.pid, other)
    await process.terminate(spawned.pid, other, timeout=0)
    assert await process.wait_end(spawned.pid, other) is None
    assert process.is_alive(spawned.pid, spawned.started)


@pytest.mark.parametrize("pid", [0, -1])
async def test_what_is_no_process_is_never_signalled(pid):
    assert not process.is_alive(pid, 0.0)
    await process.terminate(pid, 0.0, timeout=0)
    assert await process.wait_end(pid, 0.0) is None
    with pytest.raises(ProcessLookupError):
        process.start_time(pid)


def test_a_zombie_is_not_alive():
    child = os.posix_spawn("/bin/true", ["true"], {})
    began = process.start_time(child)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert not process.is_alive(child, began)
    os.waitpid(child, 0)


async def test_detached_processes_are_found_by_argument_or_a_path_below_it(started, tmp_path):
    wanted = tmp_path / "pod"
    named = (f"{wanted}", f"{wanted}/qemu.pid", f"--source={wanted}/share0/.")
    for argument in (*named, f"{wanted}-other", f"x{wanted}", f"--source={wanted}-other"):
        started.append(process.spawn_detached((*STAY, argument)))
    found = process.find_by_argument(wanted)
    assert sorted(each.pid for each in found) == sorted(each.pid for each in started[:3])
    assert set(found) == set(started[:3])


async def test_an_operators_tail_of_a_log_is_not_found(tmp_path):
    (tmp_path / "log").touch()
    tail = await asyncio.create_subprocess_exec("tail", "-f", str(tmp_path / "log"))
    try:
        assert process.find_by_argument(tmp_path) == []
    finally:
        tail.kill()
        await tail.wait()


async def test_run_takes_input_and_gives_output():
    done = await process.run(("sh", "-c", "cat; echo oops >&2; exit 4"), stdin=b"hello")
    assert done == process.Completed(4, b"hello", b"oops\n")


async def test_run_kills_what_takes_too_long_with_its_children(tmp_path):
    marker = tmp_path / "marker"
    script = f"sleep 60 & echo $! > {marker}; wait"
    with pytest.raises(TimeoutError):
        await process.run(("sh", "-c", script), timeout=0.5)
    child = int(marker.read_text())
    await until(lambda: is_gone(child))


async def test_a_cancelled_run_leaves_nothing():
    task = asyncio.create_task(process.run(("sleep", "60.25")))
    await until(_sleepers)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not _sleepers()


def _sleepers() -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if (entry / "cmdline").read_bytes() == b"sleep\x0060.25\0":
                    found.add(int(entry.name))
            except OSError:
                continue
    return found


async def test_run_keeps_the_last_of_what_is_written():
    done = await process.run(
        ["any name", "-c", "cat; seq 1 100000; echo $0 >&2"],
        executable="/bin/sh",
        stdin=b"in",
        keep=12,
    )
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        b"99999\n100000\n"[-12:],
        b"any name\n",
    )


async def test_a_run_that_is_cancelled_as_it_starts_leaves_no_children(tmp_path):
    """At any moment of the start: the child runs before asyncio has connected its pipes."""
    for turns in range(12):
        argument = str(tmp_path / f"mark{turns}")
        script = 'sh -c "sleep 1000; :" "$0" & wait'
        running = asyncio.create_task(process.run(["sh", "-c", script, argument]))
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        async with asyncio.timeout(10):
            with pytest.raises(asyncio.CancelledError):
                await running
        assert not [line for line in commands() if argument.encode() in line]


def commands() -> list[bytes]:
    """The command lines of all processes."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it may end while we look
            found.append(file.read_bytes())
    return found


def test_what_a_program_was_given_is_seen_from_its_beginning_on():
    """Of some, the kernel shows nothing yet when we are told that they run."""
    for turn in range(300):
        name = ("environ", "cmdline")[turn % 2]
        with subprocess.Popen(SLEEP, env={"TURN": str(turn)}) as child:
            shown = process._shown(Path(f"/proc/{child.pid}", name))
            child.kill()
        assert shown == (b"sleep\x0060\0" if turn % 2 else f"TURN={turn}\0".encode())


def test_what_a_program_was_given_is_waited_for_while_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Its place in /proc is empty for a moment."""
    shown, stat = tmp_path / "environ", tmp_path / "stat"
    shown.touch()
    stat.write_text(f"7 (a) b) S {' 0' * 40}")
    assert process._shown(shown) == b""  # a thread of the kernel, or it has ended
    (tmp_path / "exe").symlink_to("/bin/sh")
    naps: list[float] = []

    def begin(seconds: float) -> None:
        naps.append(seconds)
        shown.write_bytes(b"A=b\0")

    monkeypatch.setattr(process.time, "sleep", begin)
    assert process._shown(shown) == b"A=b\0"
    shown.write_bytes(b"")
    monkeypatch.setattr(process.time, "sleep", naps.append)
    assert process._shown(shown) == b""  # what seems to begin for ever is given up
    assert len(naps) == 1 + process._LOOKS
    stat.write_text(f"7 (a) b) S {' 0' * 22} 4096 {' 0' * 17}")
    assert process._shown(shown) == b""  # it was given nothing
    assert len(naps) == 1 + process._LOOKS
