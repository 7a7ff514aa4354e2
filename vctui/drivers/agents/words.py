"""What agents say when they refuse → sentences of ours. Pure.

It is foreign text: an older Rust agent renders a whole backtrace, crun writes for its log. Here it
is bounded, freed of control characters, and read for the two things that a shell tells apart: a
command that is not there (127) and one that cannot be executed (126).
"""

from __future__ import annotations

import re
from typing import Final

from vctui.errors import AgentError, CommandFailed

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126

_SHOWN: Final = 300
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_BACKTRACE: Final = re.compile(r"\s*(Stack backtrace:|stack backtrace:).*", re.DOTALL)

_NO_PROGRAM: Final = re.compile(
    r"executable file .*not found|the file .+ (was not found|is not exist)", re.IGNORECASE
)
_MISSING: Final = re.compile(r"no such file or directory", re.IGNORECASE)
_REFUSED: Final = re.compile(r"permission denied|exec format error|is a directory", re.IGNORECASE)
_SOMETHING_ELSE: Final = re.compile(
    r"chdir|\bcwd\b|working dir|\bmount|\bstorage|rootfs|pivot|cgroup|\bhook|no such process",
    re.IGNORECASE,
)
"""Other files and folders that may be missing when a container is made."""
_ERRNO: Final = re.compile(r"\bE[A-Z]{3,}: ")
"""So agents in Rust tell of a folder, a mount or the like: a program that is missing they name, and
one that cannot be executed ends with the number."""


def sentence(message: str) -> str:
    """An agent's message on one line, without a backtrace, at most `_SHOWN` characters."""
    text = _CONTROL.sub(" ", _BACKTRACE.sub("", message)).strip().strip('"')
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def command_status(message: str) -> int | None:
    """127 or 126 where the message is about the command itself; None for anything else."""
    if _NO_PROGRAM.search(message):
        return NOT_FOUND
    if _SOMETHING_ELSE.search(message) or _ERRNO.search(message):
        return None
    if _REFUSED.search(message):
        return NOT_EXECUTABLE
    if _MISSING.search(message):
        return NOT_FOUND
    return None


def command_failed(command: str, container_id: str, error: AgentError) -> AgentError:
    """The same error, or CommandFailed where the agent could not execute the command."""
    status = command_status(str(error))
    if status is None:
        return error
    why = "was not found" if status == NOT_FOUND else "cannot be executed"
    return CommandFailed(
        f"the command {command!r} {why} in container {container_id!r}; "
        "give one that its root file system has, with its whole path or in PATH",
        exit_code=status,
        code=error.code,
    )
