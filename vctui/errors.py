"""The one exception tree.

    VctuiError
    ├── InvalidInput             invalid            what was asked for cannot be
    │   ├── InvalidId            invalid-id
    │   ├── InvalidConfig        invalid-config     names the path of the key
    │   └── FileProblem          file               missing, unreadable, not parsable
    ├── NotFound                 not-found          no pod, container, process of that name
    ├── AmbiguousId              ambiguous-id       a prefix that fits several
    ├── AlreadyExists            already-exists
    ├── WrongState               wrong-state        the state machine says no
    ├── ReadOnly                 read-only          changes are switched off
    ├── HostProblem              host               this machine lacks something
    │   ├── MissingProgram       missing-program
    │   ├── GuestNotBuilt        guest-not-built
    │   ├── GuestBuildFailed     guest-build
    │   ├── HookFailed           hook               a program that the pod names for its start
    │   ├── PermissionProblem    permission
    │   └── DiskFull             disk-full
    ├── HypervisorError          hypervisor
    │   └── MachineDied          machine-died       with QEMU's last words
    ├── AgentError               agent              the agent answered with an error
    │   ├── AgentUnreachable     agent-unreachable
    │   ├── AgentUnsupported     agent-unsupported  the agent has no such call
    │   └── CommandFailed        command            127 not found, 126 not executable
    ├── MonitorError             monitor            the pod's monitor failed
    └── StoreError               store

Every message is one sentence for an operator: what, which object, what to do.
`kind` is the stable word that `--json` prints.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:  # the guest imports this module, and typing costs it a tenth of a second
    from typing import ClassVar


class VctuiError(Exception):
    """Anything vctui reports to its user."""

    kind: ClassVar[str] = "error"

    @property
    def message(self) -> str:
        return str(self)


class InvalidInput(VctuiError):
    kind = "invalid"


class InvalidId(InvalidInput):
    kind = "invalid-id"


class InvalidConfig(InvalidInput):
    """A key of a pod file, container file or config.toml has a value that cannot be used."""

    kind = "invalid-config"


class FileProblem(InvalidInput):
    kind = "file"


class NotFound(VctuiError):
    kind = "not-found"


class AmbiguousId(VctuiError):
    kind = "ambiguous-id"


class AlreadyExists(VctuiError):
    kind = "already-exists"


class WrongState(VctuiError):
    kind = "wrong-state"


class ReadOnly(VctuiError):
    kind = "read-only"


class HostProblem(VctuiError):
    kind = "host"


class MissingProgram(HostProblem):
    kind = "missing-program"


class GuestNotBuilt(HostProblem):
    kind = "guest-not-built"


class GuestBuildFailed(HostProblem):
    kind = "guest-build"


class HookFailed(HostProblem):
    kind = "hook"


class PermissionProblem(HostProblem):
    kind = "permission"


class DiskFull(HostProblem):
    kind = "disk-full"


class NetworkError(VctuiError):
    """A network could not be made, joined or left."""

    kind = "network"


class HypervisorError(VctuiError):
    kind = "hypervisor"


class MachineDied(HypervisorError):
    """The virtual machine ended when it should not have."""

    kind = "machine-died"


class AgentError(VctuiError):
    """The agent answered with an error.

    `code` is the gRPC status code of the answer (kata-agent error codes).
    """

    kind = "agent"

    def __init__(self, message: str, *, code: int = 13) -> None:
        super().__init__(message)
        self.code = code


class AgentUnreachable(AgentError):
    kind = "agent-unreachable"


class AgentUnsupported(AgentError):
    kind = "agent-unsupported"


class CommandFailed(AgentError):
    """A command could not be started in a container; `exit_code` as a shell gives it."""

    kind = "command"

    def __init__(self, message: str, *, exit_code: int, code: int = 13) -> None:
        super().__init__(message, code=code)
        self.exit_code = exit_code


class MonitorError(VctuiError):
    kind = "monitor"


class StoreError(VctuiError):
    kind = "store"
