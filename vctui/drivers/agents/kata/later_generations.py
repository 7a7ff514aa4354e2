"""What agents of Kata 2.x and later do otherwise than our own, with the same protocol. Pure."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from vctui.drivers.agents.kata import requests
from vctui.errors import AgentUnsupported
from vctui.model.container import Cmd
from vctui.wire import ttrpc

if TYPE_CHECKING:
    from vctui.wire.pb import agent_pb2 as agent
    from vctui.wire.pb import oci_pb2 as oci

OURS: Final = "vctui.Guest."
"""Begins the features of our own agent."""
_WITH_NUMBER: Final = {"SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"}


def is_ours(details: agent.AgentDetails) -> bool:
    return any(each.startswith(OURS) for each in details.extra_features)


def names(cmd: Cmd) -> list[str]:
    """The users and groups of a command that somebody has to look up."""
    return [
        each
        for each in (*requests.identity(cmd), *cmd.supplementary_groups)
        if each and not each.isdecimal()
    ]


def check_user(cmd: Cmd, details: agent.AgentDetails) -> None:
    """They take numbers only, and a name for 0.

    Raises:
        AgentUnsupported: the command is to run as a user or group that is given by name.
    """
    if (given := names(cmd)) and not is_ours(details):
        raise AgentUnsupported(
            f"the agent of Kata 2.x and later takes users and groups by number only, not "
            f"{given[0]!r}; give the number",
            code=ttrpc.UNIMPLEMENTED,
        )


def suit_filter(container_id: str, linux: oci.Linux, details: agent.AgentDetails) -> None:
    """They take an error number that is not there for 0, with which a call that is refused seems
    to have succeeded.

    Raises:
        AgentUnsupported: the agent was built without filters of system calls, and would start the
            container without.
    """
    if not linux.HasField("Seccomp"):
        return
    if not details.supports_seccomp:
        raise AgentUnsupported(
            f"the agent has no seccomp, which container {container_id!r} asks for; leave it out, "
            "or use a guest whose agent has it",
            code=ttrpc.UNIMPLEMENTED,
        )
    for call in linux.Seccomp.Syscalls:
        if call.Action in _WITH_NUMBER and not call.HasField("errnoret"):
            call.errnoret = errno.EPERM


def counts_new_processors(version: str) -> bool:
    """OnlineCPUMem of 2.x, as that of 1.x, is told how many to put into use, and fails where there
    are not so many; since 3.0 how many are to be in use."""
    return version.startswith("2.")
