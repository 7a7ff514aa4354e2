"""HypervisorConfig, kernel parameters, and the virtual machine that comes of them."""

from __future__ import annotations

import msgspec

from vctui.model.kinds import BlockDeviceDriver, MachineType, SharedFs


class Param(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """A kernel or hypervisor parameter (API: Param)."""

    key: str = ""
    """May be empty, for a value alone."""
    value: str = ""
    """May be empty, for a key alone."""

    def __str__(self) -> str:
        return f"{self.key}={self.value}" if self.key and self.value else self.key or self.value


class HypervisorConfig(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False
):
    """API: HypervisorConfig. An empty path means: from config.toml, else the built guest."""

    kernel_path: str = ""
    """Kernel to boot."""
    image_path: str = ""
    """A disk image with the guest's root file system, instead of an initrd; never written to."""
    initrd_path: str = ""
    """Initial RAM disk."""
    hypervisor_path: str = ""
    """QEMU's executable."""
    firmware_path: str = ""
    """BIOS image; "" is QEMU's own."""
    machine_accelerators: str = ""
    """Appended to the options of `-machine`."""
    hypervisor_machine_type: MachineType = MachineType.Q35
    """QEMU's machine type."""
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
    default_bridges: int = 0
    """PCI bridges that devices are plugged into while the machine runs; 0 means 1."""
    disable_block_device_use: bool = False
    """Root file systems are never given to the machine as a disk, but always shared."""
    block_device_driver: BlockDeviceDriver = BlockDeviceDriver.VIRTIO_BLK
    """How the guest sees block devices of the host; a microvm takes them by virtio-scsi only."""
    shared_fs: SharedFs = SharedFs.NINE_P
    """How the guest is shown folders of the host."""
    mem_prealloc: bool = False
    """Take the memory from the host at once."""
    huge_pages: bool = False
    """Memory from the host's huge pages, all of it at once; wins over `mem_prealloc`."""
    realtime: bool = False
    """Lets `mlock` say whether the machine's memory may be swapped out."""
    mlock: bool = False
    """With `realtime`: the host never swaps the machine's memory out."""
    disable_nesting_checks: bool = False
    """Under KVM on a host that is a virtual machine itself, keep the machine as on bare metal."""

    @property
    def takes_disks(self) -> bool:
        """Whether block devices can be plugged into the running machine."""
        by_scsi = self.block_device_driver is BlockDeviceDriver.VIRTIO_SCSI
        return by_scsi or self.hypervisor_machine_type is not MachineType.MICROVM


class Daemon(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A virtiofsd, without which the machine's guest cannot go on."""

    tag: str
    """Of the folder that it serves, as the guest knows it."""
    pid: int
    started: float
    """Seconds since boot, so that a reused pid is not mistaken."""


class Machine(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A virtual machine that was started, as the store remembers it."""

    uuid: str
    """Its name for QEMU, new at each start."""
    pid: int
    """0 where no process stands for the machine (mock)."""
    pid_started: float = 0.0
    """Start time of the process (seconds since boot), so that a reused pid is not mistaken."""
    accelerator: str = ""
    """`kvm`, `tcg` or `mock`."""
    boot: str = ""
    """How it came up, in words for an operator."""
    template: str = ""
    """Key of the template that it began as; "" where it booted."""
    kernel: str = ""
    """The kernel it booted."""
    initrd: str = ""
    """Its initial RAM disk."""
    image: str = ""
    """The disk image that the guest has as its root."""
    vsock: str = ""
    """Where the guest's vsock ports are reached: `vsock://CID` by the host's kernel,
    `hvsock://PATH` at a hybrid socket; "" for a machine without."""
    vcpus: int = 1
    """Those that it has now; 0 where that is to be looked up."""
    memory: int = 0
    """MiB that it has now."""
    boot_vcpus: int = 0
    """Those that it was started with."""
    boot_memory: int = 0
    """MiB that it was started with."""
    least_vcpus: int = 0
    """Those that its pod asks for; a machine that began as a smaller template is given the rest."""
    least_memory: int = 0
    """MiB, likewise."""
    max_vcpus: int = 0
    """What it can have while it runs; 0 for a machine whose size is fixed."""
    max_memory: int = 0
    """MiB, likewise."""
    daemons: tuple[Daemon, ...] = ()
    """What serves the guest folders of the host, where the hypervisor does not do so itself."""

    @property
    def keeps_vcpus(self) -> bool:
        """Whether processors that it was given stay: QEMU's emulation ends with a failed assertion
        (tcg_register_thread) when it is given one again after it has taken one away."""
        return self.accelerator == "tcg"
