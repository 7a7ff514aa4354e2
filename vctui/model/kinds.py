"""The enumerations of the API, with the API's spelling (virtcontainers 1.0 API document)."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class HypervisorType(StrEnum):
    QEMU = "qemu"
    MOCK = "mock"


class AgentType(StrEnum):
    NOOP = "noop"
    KATA = "kata"


class ProxyType(StrEnum):
    NOOP = "noopProxy"
    BUILTIN = "kataBuiltInProxy"
    """Our monitor; the name is Kata's own for a proxy inside the runtime."""


class ShimType(StrEnum):
    NOOP = "noopShim"
    BUILTIN = "kataBuiltInShim"
    """Our monitor; the name is Kata's own for a shim inside the runtime."""


class NetworkModel(StrEnum):
    NOOP = "noop"


class MachineType(StrEnum):
    Q35 = "q35"
    PC = "pc"
    MICROVM = "microvm"
    """No PCI and little else; boots quickest, takes nothing that is plugged in later."""


class Accelerator(StrEnum):
    AUTO = "auto"
    """KVM where it was proved to work on this host, TCG elsewhere."""
    KVM = "kvm"
    TCG = "tcg"


class ProcessListFormat(StrEnum):
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
