"""HypervisorConfig, kernel parameters, and the virtual machine that comes of them."""

from __future__ import annotations

import msgspec

from vctui.model.kinds import MachineType


class Param(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A kernel or hypervisor parameter (API: Param)."""

    key: str = ""
    value: str = ""

    def __str__(self) -> str:
        return f"{self.key}={self.value}" if self.key and self.value else self.key or self.value


class HypervisorConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """API: HypervisorConfig. An empty path means: from config.toml, else the built guest."""

    kernel_path: str = ""
    initrd_path: str = ""
    hypervisor_path: str = ""
    """QEMU's executable."""
    firmware_path: str = ""
    machine_accelerators: str = ""
    """Appended to the options of `-machine`."""
    hypervisor_machine_type: MachineType = MachineType.Q35
    kernel_params: tuple[Param, ...] = ()
    """Appended last, so that they win."""
    hypervisor_params: tuple[Param, ...] = ()
    """Additional arguments of QEMU: `-KEY VALUE` each."""
    debug: bool = False
    """Verbose guest kernel, agent log level debug, and a shell on the serial console."""
    default_vcpus: int = 0
    """For a pod whose `vm_config` has no `vcpus`."""
    default_mem_sz: int = 0
    """MiB, for a pod whose `vm_config` has no `memory`."""
    mem_prealloc: bool = False


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """A virtual machine that was started, as the store remembers it."""

    uuid: str
    pid: int
    """0 where no process stands for the machine (mock)."""
    pid_started: float = 0.0
    """Start time of the process (seconds since boot), so that a reused pid is not mistaken."""
    accelerator: str = ""
    """`kvm`, `tcg` or `mock`."""
    boot: str = ""
    """How it came up, in words for an operator."""
    kernel: str = ""
    initrd: str = ""
    vcpus: int = 1
    memory: int = 0
    """MiB."""
