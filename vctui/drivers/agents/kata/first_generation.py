"""What Kata 1.x reads otherwise than its successors (kata-agent gRPC sheet, §3, §5, §6). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vctui.drivers.agents.kata import requests
from vctui.errors import AgentError, AgentUnsupported
from vctui.model.container import Cmd, ContainerConfig
from vctui.wire import proto, ttrpc

if TYPE_CHECKING:
    from vctui.wire.pb import agent_pb2 as agent
    from vctui.wire.pb import oci_pb2 as oci
    from vctui.wire.pb import types_pb2 as types
else:
    agent = oci = types = proto.messages

_OCI: Final = 6
_LINUX: Final = 8
_SECCOMP: Final = 8
"""Numbers of CreateContainerRequest.OCI, Spec.Linux and Linux.Seccomp in every release."""
_BYTES: Final = 2
_QUEUES: Final = "/dev/mqueue"


def suit(process: oci.Process, cmd: Cmd) -> None:
    """Where there is a `Username`, 1.x reads no other field of the user: it may name the group.

    Raises:
        AgentUnsupported: supplementary groups are given by name, which nobody would look up.
    """
    named = [group for group in cmd.supplementary_groups if not group.isdecimal()]
    if named:
        raise AgentUnsupported(
            f"the agent of Kata 1.x takes supplementary groups by number only, not {named[0]!r}; "
            "give the number",
            code=ttrpc.UNIMPLEMENTED,
        )
    name, group = requests.identity(cmd)
    process.user.Username = f"{name or 0}:{group}" if group else name


def suit_mounts(spec: oci.Spec, config: ContainerConfig) -> None:
    """Without what the kernel of such a guest need not have (sheet §9.2, kernel config)."""
    if not any(mount.destination == _QUEUES for mount in config.mounts):
        kept = [mount for mount in spec.Mounts if mount.destination != _QUEUES]
        del spec.Mounts[:]
        spec.Mounts.extend(kept)


def suit_routes(routes: agent.Routes) -> None:
    """1.x refuses a second route to one destination, of which the kernel would use the first alone;
    and one that says nothing but its device is IPv4's default (sheet §6.2)."""
    first: dict[tuple[int, str], types.Route] = {}
    for route in routes.Routes:
        first.setdefault((route.family, route.dest), route)
    kept = list(first.values())
    del routes.Routes[:]
    routes.Routes.extend(kept)
    for route in routes.Routes:
        if route.family == types.v6 and not (route.dest or route.gateway or route.source):
            route.dest = "::/0"


def no_cgroups(container_id: str, error: AgentError) -> AgentError:
    """The guest has control groups of version 2 where the agent looks for those of version 1."""
    return AgentError(
        f"{error}; where the guest has control groups of version 2, start it with "
        "systemd.unified_cgroup_hierarchy=0 or, an agent of 1.11 or later, with "
        f"agent.unified_cgroup_hierarchy=true among its kernel_params, for {container_id!r} to "
        "start",
        code=error.code,
    )


class CreateContainer:
    """The request as 1.x decodes it: the fields of a seccomp filter had other numbers.

    The filter is apart from the rest, as a second OCI message that protobuf merges with the first.
    """

    def __init__(self, request: agent.CreateContainerRequest) -> None:
        """
        Raises:
            AgentUnsupported: the filter says what could not be said then, or programs are to run
                in the container before its first process, of which the agent would not know.
        """
        if request.OCI.hooks.StartContainer:
            raise AgentUnsupported(
                f"the agent of Kata 1.x does not run the start_hooks of container "
                f"{request.container_id!r}; leave them out, or use a guest with a newer agent",
                code=ttrpc.UNIMPLEMENTED,
            )
        linux = request.OCI.linux
        self._filter = b""
        if linux.HasField("Seccomp"):
            inner = _field(_SECCOMP, _seccomp(linux.Seccomp))
            self._filter = _field(_OCI, _field(_LINUX, inner))
            linux.ClearField("Seccomp")
        self._request = request

    def SerializeToString(self) -> bytes:  # noqa: N802 - as messages have it
        return self._request.SerializeToString() + self._filter


def _seccomp(seccomp: oci.LinuxSeccomp) -> bytes:
    if seccomp.Flags or any(call.HasField("errnoret") for call in seccomp.Syscalls):
        raise AgentUnsupported(
            "the agent of Kata 1.x takes neither flags nor error numbers in a seccomp filter; "
            "leave them out, or use a guest with a newer agent",
            code=ttrpc.UNIMPLEMENTED,
        )
    return b"".join(
        (
            _field(1, seccomp.DefaultAction.encode()),
            *(_field(2, name.encode()) for name in seccomp.Architectures),
            *(_field(3, _syscall(call)) for call in seccomp.Syscalls),
        )
    )


def _syscall(call: oci.LinuxSyscall) -> bytes:
    return b"".join(
        (
            *(_field(1, name.encode()) for name in call.Names),
            _field(2, call.Action.encode()),
            *(_field(3, argument.SerializeToString()) for argument in call.Args),
        )
    )


def _field(number: int, data: bytes) -> bytes:
    """A field of bytes as protobuf has it on the wire."""
    return bytes((number << 3 | _BYTES,)) + _length(len(data)) + data


def _length(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
