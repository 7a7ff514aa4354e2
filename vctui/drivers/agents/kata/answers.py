"""What the agent answers → ours: errors, and where the time went. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vctui.drivers.agents.words import sentence
from vctui.drivers.ttrpc_client import CallFailed
from vctui.errors import AgentError, AgentUnsupported
from vctui.model.timeline import Step, Where
from vctui.wire import ttrpc

if TYPE_CHECKING:
    from vctui.wire.pb import guest_pb2

_STEPS: Final = 1000
"""Of a guest's timeline; more are not looked at."""
_STEP_NAME: Final = 64
_GONE: Final = re.compile(r"Invalid (container|exec) id|invalid eid |cannot find init process")
"""What agents of 2.x and 3.x say with the code of any failure where a container or process is not
there."""


def refused(method: str, where: str, error: CallFailed) -> AgentError:
    """What an answered call failed with; the agent is `where`, in words."""
    if _is_unknown(method, error):
        return AgentUnsupported(
            f"the agent {where} has no call {method}; use a guest with a newer agent",
            code=ttrpc.UNIMPLEMENTED,
        )
    gone = error.code == ttrpc.INTERNAL and _GONE.search(error.message)
    return AgentError(
        f"the agent {where} refused {method}: {sentence(error.message) or 'it gives no reason'}",
        code=ttrpc.NOT_FOUND if gone else error.code,
    )


def _is_unknown(method: str, error: CallFailed) -> bool:
    """The agent has no such call. Those in Rust answer a service, and early ones also a method,
    that they do not have as an argument that is wrong or as something that was not found."""
    return error.code == ttrpc.UNIMPLEMENTED or (
        error.code in {ttrpc.INVALID_ARGUMENT, ttrpc.NOT_FOUND}
        and re.search(rf"(\bservice|/{method}) (does not exist|is not supported)", error.message)
        is not None
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
