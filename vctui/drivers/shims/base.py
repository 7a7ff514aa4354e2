"""Shim: what stands on the host for a process in the guest: stdio, end, window size."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from vctui.model.container import Process


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that a process wrote. `stream` is 1 for stdout (or the terminal), 2 for stderr."""

    stream: int
    data: bytes


class ShimParams(msgspec.Struct, frozen=True, kw_only=True):
    """The process that a shim is to stand for."""

    container_id: str
    token: str
    """Equals `container_id` for the container's first process."""
    terminal: bool
    """The process has one in the guest."""
    log: bool
    """Its output goes to the container's log."""
    console: str = ""
    """Path of a terminal of the host that it is connected to."""


class Attachment(ABC):
    """Stdio of one process, or the serial console. Async-iterate it for Output.

    Iteration ends when the process has ended and all its output was delivered,
    or after `detach`.
    """

    exit_code: int | None = None
    """Set when the iteration has ended because the process has; None after a detach or when
    the machine went away."""
    reason: str = ""
    """Why there is no exit code, in words."""

    @abstractmethod
    def __aiter__(self) -> AsyncIterator[Output]: ...

    @abstractmethod
    async def write(self, data: bytes) -> None:
        """Waits while the process does not read."""

    @abstractmethod
    async def resize(self, rows: int, columns: int) -> None: ...

    @abstractmethod
    async def close_stdin(self) -> None: ...

    @abstractmethod
    async def detach(self) -> None:
        """Leave; the process goes on. Idempotent."""


class Shim(ABC):
    @abstractmethod
    async def start(self, run_dir: Path, params: ShimParams) -> Process:
        """Stand for the process from now on (before a container's StartContainer; before or after
        an ExecProcess, as the agent needs it).

        Raises:
            FileProblem: the console cannot be used.
            MonitorError
        """

    @abstractmethod
    async def wait(self, run_dir: Path, token: str) -> int | None:
        """The exit code once the process has ended and the end is in the store;
        None where it could not be learnt because the machine went away."""

    @abstractmethod
    async def attach(
        self, run_dir: Path, token: str, *, replay: int = 0, rows: int = 0, columns: int = 0
    ) -> Attachment:
        """Raises NotFound for a process that is not running (any more)."""

    @abstractmethod
    async def console(self, run_dir: Path, *, replay: int = 0) -> Attachment:
        """The guest's serial console."""
