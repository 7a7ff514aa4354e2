"""The agent's errors → ours, in one sentence each. Pure.

What an agent says is foreign text: an older Rust agent renders a whole backtrace, crun writes
for its log. Here it is bounded, freed of control characters, and read for the two things that
a shell tells apart: a command that is not there (127) and one that cannot be executed (126).
"""

from __future__ import annotations

import re
from typing import Final

from vctui.drivers.ttrpc_client import CallFailed
from vctui.errors import AgentError, AgentUnsupported, CommandFailed
from vctui.model.timeline import Step, Where
from vctui.wire import ttrpc
from vctui.wire.pb import guest_pb2

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126

_SHOWN: Final = 300
_STEPS: Final = 1000
"""Of a guest's timeline; more are not looked at."""
_STEP_NAME: Final = 64
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_BACKTRACE: Final = re.compile(r"\s*(Stack backtrace:|stack backtrace:).*", re.DOTALL)

_MISSING: Final = re.compile(
    r"executable file .*not found|ENOENT|no such file or directory", re.IGNORECASE
)
_REFUSED: Final = re.compile(
    r"EACCES|ENOEXEC|EISDIR|permission denied|exec format error|is a directory", re.IGNORECASE
)
_SOMETHING_ELSE: Final = re.compile(
    r"chdir|\bcwd\b|working dir|\bmount|rootfs|pivot|cgroup|\bhook|no such process", re.IGNORECASE
)
"""Other files and folders that may be missing when a container is made."""


def sentence(message: str) -> str:
    """An agent's message on one line, without a backtrace, at most `_SHOWN` characters."""
    text = _CONTROL.sub(" ", _BACKTRACE.sub("", message)).strip().strip('"')
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def command_status(message: str) -> int | None:
    """127 or 126 where the message is about the command itself; None for anything else."""
    if re.search(r"executable file .*not found", message, re.IGNORECASE):
        return NOT_FOUND
    if _SOMETHING_ELSE.search(message):
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


def refused(method: str, where: str, error: CallFailed) -> AgentError:
    """What an answered call failed with; the agent is `where`, in words."""
    if error.code == ttrpc.UNIMPLEMENTED:
        return AgentUnsupported(
            f"the agent {where} has no call {method}; use a guest with a newer agent",
            code=error.code,
        )
    return AgentError(
        f"the agent {where} refused {method}: {sentence(error.message) or 'it gives no reason'}",
        code=error.code,
    )


def timeline(answer: guest_pb2.GetTimelineResponse, *, asked: float) -> tuple[Step, ...]:
    """The guest's steps by the host's clock.

    Args:
        asked: when the guest read its clock, by the host's.
    """
    return tuple(
        Step(
            name=sentence(step.name)[:_STEP_NAME],
            begin=asked - (answer.now_ns - step.begin_ns) / 1e9,
            took=(step.end_ns - step.begin_ns) / 1e9,
            where=Where.GUEST,
        )
        for step in answer.steps[:_STEPS]
        if 0 <= step.begin_ns <= step.end_ns <= answer.now_ns
    )


def lacks_program(error: AgentError) -> bool:
    """The guest has not the program that the agent would run for the call."""
    return "executable file not found" in str(error)


def is_about_cgroups(error: AgentError) -> bool:
    """In the words of the libraries that agents have used for them."""
    return re.search(r"cgroup|mountpoint for|hierarchy", str(error), re.IGNORECASE) is not None


def is_gone(error: AgentError) -> bool:
    """A process or container that was signalled is not there (any more)."""
    gone = {ttrpc.NOT_FOUND, ttrpc.INVALID_ARGUMENT, ttrpc.FAILED_PRECONDITION}
    return error.code in gone or (
        re.search(r"ESRCH|no such process|process already finished", str(error), re.IGNORECASE)
        is not None
    )
