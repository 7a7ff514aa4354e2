"""The enumerations of the API, with the API's spelling (virtcontainers 1.0 API document)."""

from __future__ import annotations

from enum import Enum, IntEnum, StrEnum
from typing import TypeVar

from vctui.errors import InvalidConfig

K = TypeVar("K", bound=StrEnum)


class HypervisorType(StrEnum):
    """API: HypervisorType."""

    QEMU = "qemu"
    MOCK = "mock"


class AgentType(StrEnum):
    """API: AgentType. Who is talked to in the guest."""

    NOOP = "noop"
    HYPERSTART = "hyperstart"
    KATA = "kata"


class SocketType(StrEnum):
    """API: SocketType. How the host talks to an agent."""

    VSOCK = "vsock"
    """The machine's vsock device, served by the host's kernel where it can, else by vctui."""
    HYBRID = "hybrid-vsock"
    """The machine's vsock device, served by vctui: a unix socket on the host. Not the API's word,
    but Kata's own (Firecracker has it)."""
    UNIX = "unix"
    """A serial port of the machine, which is a unix socket on the host."""

    @property
    def is_vsock(self) -> bool:
        return self is not SocketType.UNIX


class AgentProtocol(StrEnum):
    """What the agent speaks on its channel."""

    AUTO = "auto"
    """Found out by asking, unless the guest is our own."""
    TTRPC = "ttrpc"
    """Kata 2.x and later, and our own guest."""
    GRPC = "grpc"
    """Kata 1.x; over a serial port, inside yamux."""
    HYPERSTART = "hyperstart"
    """hyperstart's own, where we talk to it ourselves; the agent `hyperstart`."""
    CC_AGENT = "cc-agent"
    """The same as Clear Containers' agent has it, which is what a cc-proxy passes on."""


class ProxyType(StrEnum):
    """API: ProxyType. What shares the agent's one channel among many."""

    NOOP = "noopProxy"
    NO = "noProxy"
    """Every client talks to the agent itself."""
    CC = "ccProxy"
    """Clear Containers' program, before hyperstart."""
    KATA = "kataProxy"
    """Kata Containers 1.x' program."""
    BUILTIN = "kataBuiltInProxy"
    """Our monitor; the name is Kata's own for a proxy inside the runtime."""


class ShimType(StrEnum):
    """API: ShimType. What stands on the host for a process in the guest."""

    CC = "ccShim"
    """Clear Containers' program, a client of ccProxy."""
    NOOP = "noopShim"
    KATA = "kataShim"
    """Kata Containers 1.x' program."""
    BUILTIN = "kataBuiltInShim"
    """Our monitor; the name is Kata's own for a shim inside the runtime."""


class NetworkModel(StrEnum):
    """API: NetworkModel. How the pod's network is made."""

    NOOP = "noop"
    CNI = "CNI"
    """Plugins fill the pod's network namespace (Container Network Interface)."""
    CNM = "CNM"
    """Somebody else fills the pod's network namespace."""


class NetInterworkingModel(StrEnum):
    """API: NetInterworkingModel. How an interface is connected to the virtual machine."""

    DEFAULT = "default"
    """What works on most hosts: tc-filter."""
    BRIDGED = "bridged"
    """A bridge in the pod's namespace joins the interface and the machine's tap."""
    MACVTAP = "macvtap"
    """The machine has a macvtap device on top of the interface."""
    ENLIGHTENED = "enlightened"
    """Whoever filled the namespace made taps or macvtaps there, which the machine has as such."""
    TC_FILTER = "tc-filter"
    """The kernel's traffic control redirects between the interface and the machine's tap."""
    INVALID = "invalid"
    """The API's word for none of these; always refused."""


class EndpointType(StrEnum):
    """What kind of interface of the pod's namespace the machine is connected to."""

    VETH = "veth"
    TAP = "tap"
    MACVLAN = "macvlan"
    IPVLAN = "ipvlan"
    MACVTAP = "macvtap"
    PHYSICAL = "physical"
    VHOST_USER = "vhost-user"


class PortProtocol(StrEnum):
    """What a port belongs to."""

    TCP = "tcp"
    UDP = "udp"
    SCTP = "sctp"


class MachineType(StrEnum):
    """API: HypervisorConfig.HypervisorMachineType."""

    Q35 = "q35"
    PC = "pc"
    MICROVM = "microvm"
    """No PCI and little else; boots quickest, takes nothing that is plugged in later."""


class BlockDeviceDriver(StrEnum):
    """What a block device of the host is in the machine that is given it."""

    VIRTIO_BLK = "virtio-blk"
    """A PCI device of its own, on one of the machine's bridges."""
    VIRTIO_SCSI = "virtio-scsi"
    """A disk of one SCSI controller, which takes far more of them than bridges have slots."""


class SharedFs(StrEnum):
    """How a guest is shown folders of the host: the pod's share and its volumes."""

    NINE_P = "9p"
    """QEMU serves them itself. Agents of Kata 3.29 and later do not know it."""
    VIRTIO_FS = "virtio-fs"
    """A program, virtiofsd, serves each of them; what current guests of Kata expect."""


class Accelerator(StrEnum):
    """What QEMU runs a machine with."""

    AUTO = "auto"
    """KVM where it was proved to work on this host, TCG elsewhere."""
    KVM = "kvm"
    TCG = "tcg"


class DeviceType(StrEnum):
    """As mknod(1) has them."""

    CHARACTER = "c"
    UNBUFFERED = "u"
    """The same as `c`."""
    BLOCK = "b"
    FIFO = "p"


class ProcessListFormat(StrEnum):
    """API: ProcessListOptions.Format."""

    JSON = "json"
    TABLE = "table"


class Signal(IntEnum):
    """Signals an operator is offered first; any number from 1 to 64 is accepted."""

    HUP = 1
    INT = 2
    QUIT = 3
    KILL = 9
    USR1 = 10
    USR2 = 12
    TERM = 15
    CONT = 18
    STOP = 19


def parse(kind: type[K], word: str) -> K:
    """The value of an enumeration that is spelt `word`, to the letter.

    Raises:
        InvalidConfig: naming the words that are accepted.
    """
    for member in kind:
        if member.value == word:
            return member
    raise InvalidConfig(f"{word!r} is no {kind.__name__}; use {words(kind)}")


def words(kind: type[Enum]) -> str:
    """What is accepted, as a phrase."""
    values = [str(member.value) for member in kind]
    return values[0] if len(values) == 1 else "one of " + ", ".join(values)
