"""What a log is made of, whichever of a pod's three logs it is."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec


class LogSource(StrEnum):
    CONSOLE = "console"
    """The guest's serial console: kernel and boot messages."""
    AGENT = "agent"
    """The log of the agent in the guest."""
    CONTAINER = "container"
    """What a container's first process wrote to stdout and stderr."""


class LogLine(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One line as the guest wrote it: not sanitised, and without its newline."""

    text: bytes
    time: datetime | None = None
    """None where the source gives none (serial console)."""
    stream: str = ""
    """`stdout` or `stderr` of a container; "" for the other sources."""
    partial: bool = False
    """The line goes on in the next one (it was too long, or has not ended yet)."""
    skipped: int = 0
    """So many lines before it were left out, because they came too fast for a screen."""
