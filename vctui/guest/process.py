"""A process of a container: its streams, its end."""

from __future__ import annotations

import os
import termios

from vctui.errors import AgentError
from vctui.guest.loop import Future
from vctui.guest.stdio import Input, Output
from vctui.linux.ioctls import grow_pipe
from vctui.wire import ttrpc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vctui.guest.children import Exit
    from vctui.guest.loop import Loop

_PIPE_SIZE = 256 * 1024
_TERMINAL_GRACE = 0.5
"""Seconds that others may hold the terminal of a process that has ended (sheet §7.1)."""


class Pipes:
    """The streams of a process without a terminal, from 0 on: our ends, and the process's."""

    def __init__(self) -> None:
        self.ours: list[int] = []
        self.theirs: list[int] = []
        for number in range(3):
            read_end, write_end = os.pipe2(os.O_CLOEXEC)
            grow_pipe(read_end, _PIPE_SIZE)
            self.ours.append(read_end if number else write_end)
            self.theirs.append(write_end if number else read_end)
        for fd in self.ours:
            os.set_blocking(fd, False)


class Process:
    """From CreateContainer or ExecProcess on; `pid` is 0 until it was started."""

    def __init__(self, loop: Loop, exec_id: str, *, terminal: bool) -> None:
        self._loop = loop
        self.id = exec_id
        self.terminal = terminal
        self.pid = 0
        self.ended = Future()
        """Its exit code as a shell gives it."""
        self.connected = Future()
        """It was started, or never will be: who reads or writes early waits for that."""
        self.stdin: Input | None = None
        self.stdout: Output | None = None
        self.stderr: Output | None = None
        self._master = -1

    def take_pipes(self, pipes: Pipes) -> None:
        """Our ends of its streams; ours from now on."""
        self.stdin, self.stdout, self.stderr = (
            Input(self._loop, pipes.ours[0]),
            Output(self._loop, pipes.ours[1]),
            Output(self._loop, pipes.ours[2]),
        )

    def take_terminal(self, master: int) -> None:
        """The master side of the process's terminal; ours from now on."""
        os.set_blocking(master, False)
        self._master = master
        self.stdin = Input(self._loop, os.dup(master))
        self.stdout = Output(self._loop, os.dup(master))

    def started(self, pid: int, ended: Future) -> None:
        """Its program is executed."""
        self.pid = pid
        self.connected.succeed()
        ended.then(self._end)

    def abandon(self, error: AgentError) -> None:
        """It will never be started: tell so whoever waits for its end, and end its streams."""
        self.close()
        self.ended.fail(error)

    def resize(self, rows: int, columns: int) -> None:
        """
        Raises:
            AgentError: it has no terminal.
        """
        if self._master < 0:
            raise AgentError(f"process {self.id} has no terminal", code=ttrpc.UNAVAILABLE)
        if not (0 < rows < 65536 and 0 < columns < 65536):
            raise AgentError(
                f"{rows} rows of {columns} columns is no size of a terminal",
                code=ttrpc.INVALID_ARGUMENT,
            )
        termios.tcsetwinsize(self._master, (rows, columns))

    def close(self) -> None:
        """Let go of its streams."""
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        if self._master >= 0:
            os.close(self._master)
            self._master = -1
        self.connected.succeed()

    def last_words(self) -> str:
        """What a process that could not be started has written."""
        output = self.stderr or self.stdout
        return output.rest().decode(errors="replace").strip() if output is not None else ""

    def _end(self, future: Future) -> None:
        exit_: Exit = future.result()
        if self.stdin is not None:
            self.stdin.close()
        if self.terminal and self.stdout is not None:
            self._loop.later(_TERMINAL_GRACE, self.stdout.cut)
        self.ended.succeed(exit_.code)
