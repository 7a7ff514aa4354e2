"""Promises of the command line: every field of the plan has its effect, nothing else is there."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.fakes.plans import machine_plan
from vctui.drivers.hypervisors.base import MachinePlan, Port, Share
from vctui.drivers.hypervisors.qemu import cmdline
from vctui.drivers.hypervisors.qemu.vsock import Vsock
from vctui.model.hypervisor import HypervisorConfig, Param
from vctui.model.kinds import Accelerator, BlockDeviceDriver, MachineType, SocketType
from vctui.wire.disk import Root

RUN = Path("/run/vctui/pods/web")
LISTENING = {"ctl": 10, "mon": 11, "serial": 12, "agent.channel.0": 13, "agent.log.0": 14}


def plan(config: HypervisorConfig | None = None, **fields) -> MachinePlan:
    usual = {
        "uuid": "2c1f-uuid",
        "config": config or HypervisorConfig(),
        "accelerator": Accelerator.AUTO,
        "kernel": Path("/guest/vmlinux"),
        "initrd": Path("/guest/initrd"),
        "kernel_params": ("console=ttyS0", "panic=1"),
        "vcpus": 2,
        "memory": 300,
        "min_memory": 128,
        "ports": (
            Port(name="agent.channel.0", socket=RUN / "agent.sock"),
            Port(name="agent.log.0", socket=RUN / "agentlog.sock"),
        ),
    }
    return machine_plan(RUN, **{**usual, **fields})


def build(
    plan: MachinePlan,
    *,
    accelerator: str = "tcg",
    sandbox: bool = True,
    nested: bool = False,
    huge_pages: Path | None = Path("/dev/hugepages"),
    root: Root | None = None,
    image_size: int = 0,
    tsc_khz: int = 0,
    max_vcpus: int = 0,
    max_memory: int = 0,
    vsock: Vsock | None = None,
    served: dict[str, int] | None = None,
) -> list[str]:
    argv = cmdline.build(
        plan,
        program=Path("/usr/bin/qemu"),
        accelerator=accelerator,
        listening=LISTENING,
        sandbox=sandbox,
        nested=nested,
        huge_pages=huge_pages,
        root=root,
        image_size=image_size,
        served=served,
        tsc_khz=tsc_khz,
        max_vcpus=max_vcpus,
        max_memory=max_memory,
        vsock=vsock,
    )
    return list(argv)


def values(argv: list[str], option: str) -> list[str]:
    return [value for word, value in pairwise(argv) if word == option]


def test_the_whole_of_it():
    assert build(plan()) == [
        "/usr/bin/qemu",
        *("-name", "vctui-web,debug-threads=on", "-uuid", "2c1f-uuid"),
        *("-pidfile", "/run/vctui/pods/web/qemu.pid"),
        *("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
        "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-machine",
        "q35,accel=tcg,usb=off,vmport=off,hpet=off,sata=off,smbus=off,smm=off",
        *("-cpu", "max,-erms", "-rtc", "base=utc,driftfix=slew", "-smp", "2", "-m", "300M"),
        *("-device", "pcie-root-port,id=bridge-port-0,bus=pcie.0,chassis=1"),
        *("-device", "pcie-pci-bridge,id=pci-bridge-0,bus=bridge-port-0"),
        *("-object", "rng-random,id=entropy,filename=/dev/urandom"),
        *("-device", "virtio-rng-pci,rng=entropy"),
        *("-chardev", "socket,id=ctl,fd=10,server=on,wait=off"),
        *("-chardev", "socket,id=mon,fd=11,server=on,wait=off"),
        *("-chardev", "socket,id=serial,fd=12,server=on,wait=off"),
        *("-chardev", "socket,id=agent.channel.0,fd=13,server=on,wait=off"),
        *("-chardev", "socket,id=agent.log.0,fd=14,server=on,wait=off"),
        *("-mon", "chardev=ctl,mode=control", "-mon", "chardev=mon,mode=control"),
        *("-device", "isa-serial,chardev=serial"),
        *("-device", "virtio-serial-pci,id=ports,max_ports=3"),
        "-device",
        "virtserialport,bus=ports.0,id=agent.channel.0,chardev=agent.channel.0,name=agent.channel.0",
        "-device",
        "virtserialport,bus=ports.0,id=agent.log.0,chardev=agent.log.0,name=agent.log.0",
        "-fsdev",
        "local,id=share0,path=/run/vctui/pods/web/share,security_model=none,multidevs=remap",
        *("-device", "virtio-9p-pci,fsdev=share0,mount_tag=kataShared"),
        *("-kernel", "/guest/vmlinux", "-initrd", "/guest/initrd"),
        *("-append", "console=ttyS0 panic=1"),
    ]


def test_kvm_gets_the_hosts_processor():
    argv = build(plan(), accelerator="kvm")
    assert values(argv, "-cpu") == ["host"]
    assert "accel=kvm" in values(argv, "-machine")[0]
    assert values(argv, "-global") == ["kvm-pit.lost_tick_policy=discard"]


def test_every_field_of_the_configuration_has_its_effect():
    config = HypervisorConfig(
        hypervisor_machine_type=MachineType.PC,
        machine_accelerators="smm=on,nvdimm=on",
        kernel_params=(Param(key="panic", value="9"), Param(key="quiet")),
        hypervisor_params=(Param(key="d", value="guest_errors"), Param(key="S")),
        firmware_path="/fw.bin",
        mem_prealloc=True,
        debug=True,
    )
    argv = build(plan(config))
    machine = values(argv, "-machine")[0]
    assert machine.startswith("pc,accel=tcg,")
    assert machine.endswith(",memory-backend=ram,smm=on,nvdimm=on")
    assert "memory-backend-ram,id=ram,size=300M,prealloc=on" in values(argv, "-object")
    assert values(argv, "-bios") == ["/fw.bin"]
    assert values(argv, "-append") == ["console=ttyS0 panic=1 debug panic=9 quiet"]
    assert argv[-3:] == ["-d", "guest_errors", "-S"]


def test_huge_pages_win_over_preallocation():
    config = HypervisorConfig(huge_pages=True, mem_prealloc=True)
    argv = build(plan(config), huge_pages=Path("/mnt/a,b"))
    assert values(argv, "-machine")[0].endswith(",memory-backend=ram")
    assert values(argv, "-object")[0] == (
        "memory-backend-file,id=ram,size=300M,mem-path=/mnt/a,,b,share=on,prealloc=on"
    )


@pytest.mark.parametrize(
    ("realtime", "mlock", "expected"),
    [
        (False, False, []),
        (True, False, ["mem-lock=off"]),
        (True, True, ["mem-lock=on"]),
    ],
)
def test_memory_is_locked_where_realtime_and_mlock_are_set(realtime, mlock, expected):
    argv = build(plan(HypervisorConfig(realtime=realtime, mlock=mlock)))
    assert values(argv, "-overcommit") == expected


def test_bridges_stand_behind_root_ports_where_the_board_is_pci_express():
    devices = values(build(plan(HypervisorConfig(default_bridges=2))), "-device")
    assert devices[:4] == [
        "pcie-root-port,id=bridge-port-0,bus=pcie.0,chassis=1",
        "pcie-pci-bridge,id=pci-bridge-0,bus=bridge-port-0",
        "pcie-root-port,id=bridge-port-1,bus=pcie.0,chassis=2",
        "pcie-pci-bridge,id=pci-bridge-1,bus=bridge-port-1",
    ]
    config = HypervisorConfig(default_bridges=2, hypervisor_machine_type=MachineType.PC)
    assert values(build(plan(config)), "-device")[:2] == [
        "pci-bridge,id=pci-bridge-0,bus=pci.0,chassis_nr=1,shpc=on",
        "pci-bridge,id=pci-bridge-1,bus=pci.0,chassis_nr=2,shpc=on",
    ]


def test_under_nested_kvm_every_virtio_device_is_a_legacy_one():
    argv = build(plan(), accelerator="kvm", nested=True)
    assert values(argv, "-cpu") == ["host,pmu=off"]
    virtio = [value for value in values(argv, "-device") if value.startswith("virtio-")]
    assert len(virtio) == 3
    assert all("-pci,disable-modern=true," in value for value in virtio)
    assert "disable-modern" not in " ".join(build(plan(), accelerator="kvm"))


def test_an_image_is_a_disk_that_nobody_can_write_to():
    argv = build(plan(image=Path("/a,b.img"), initrd=None), root=Root(1, "xfs"))
    assert values(argv, "-blockdev") == [
        "driver=file,filename=/a,,b.img,node-name=image-file,read-only=on",
        "driver=raw,file=image-file,node-name=image,read-only=on",
    ]
    assert "virtio-blk-pci,id=image-disk,drive=image" in values(argv, "-device")
    assert values(argv, "-append") == ["root=/dev/vda1 rootfstype=xfs ro console=ttyS0 panic=1"]


def test_an_image_is_an_nvdimm_where_the_machine_has_them():
    config = HypervisorConfig(machine_accelerators="nvdimm,smm=on")
    argv = build(
        plan(config, image=Path("/i")), root=Root(0, "ext4", dax=True), image_size=(3 << 20) + 1
    )
    assert values(argv, "-machine")[0].endswith(",nvdimm=on,smm=on")
    assert values(argv, "-m") == ["300M,slots=1,maxmem=304M"]
    assert "nvdimm,id=nv0,memdev=image,unarmed=on" in values(argv, "-device")
    backend = "memory-backend-file,id=image,size=3145729,mem-path=/i,share=on,readonly=on"
    assert backend in values(argv, "-object")
    assert values(argv, "-append")[0].startswith(
        "root=/dev/pmem0 rootfstype=ext4 rootflags=dax ro console=ttyS0"
    )
    line = cmdline.kernel_command_line(plan(config, image=Path("/i")), Root(2, "erofs"))
    assert line.startswith("root=/dev/pmem0p2 rootfstype=erofs ro ")


@pytest.mark.parametrize("accelerator", ["tcg", "kvm"])
def test_a_microvm_has_no_pci(accelerator):
    config = HypervisorConfig(hypervisor_machine_type=MachineType.MICROVM)
    wanted = plan(config, image=Path("/i"))
    argv = build(wanted, accelerator=accelerator, nested=True, root=Root(0, "xfs"), tsc_khz=2500000)
    assert values(argv, "-machine") == [
        f"microvm,accel={accelerator},usb=off,acpi=on,rtc=on,isa-serial=off"
    ]
    devices = values(argv, "-device")
    assert "virtio-blk-device,id=image-disk,drive=image" in devices
    assert not any("pci" in device or "disable-modern" in device for device in devices)
    assert "-global" not in argv
    assert values(argv, "-append")[0].endswith(" panic=1 tsc_early_khz=2500000")


@pytest.mark.parametrize(("machine", "bus"), [("q35", "pci"), ("pc", "pci"), ("microvm", "device")])
def test_a_vsock_device_is_the_kernels_or_a_programs(machine, bus):
    config = HypervisorConfig(hypervisor_machine_type=MachineType(machine))
    wanted = plan(config, socket_type=SocketType.VSOCK)
    # nested: it speaks the modern protocol only
    kernels = build(wanted, nested=machine != "microvm", vsock=Vsock(descriptor=9, cid=77))
    assert f"vhost-vsock-{bus},id=vsock,guest-cid=77,vhostfd=9" in values(kernels, "-device")
    programs = build(wanted, vsock=Vsock(descriptor=9))
    assert f"vhost-user-vsock-{bus},chardev=vsock" in values(programs, "-device")
    assert "socket,id=vsock,fd=9" in values(programs, "-chardev")
    assert "memory-backend-memfd,id=ram,size=300M,share=on" in values(programs, "-object")


def test_there_is_room_for_processors_that_come_later():
    assert values(build(plan(), max_vcpus=8), "-smp") == ["2,maxcpus=8"]
    assert values(build(plan(vcpus=9), max_vcpus=8), "-smp") == ["9"]
    config = HypervisorConfig(hypervisor_machine_type=MachineType.MICROVM)
    assert values(build(plan(config), max_vcpus=8), "-smp") == ["2"]


def test_there_is_room_for_memory_that_comes_later():
    """And the guest's kernel sets none of it aside for devices that cannot reach so far."""
    argv = build(plan(), max_memory=4096)
    assert values(argv, "-m") == ["300M,slots=16,maxmem=4096M"]
    assert values(argv, "-append")[0].endswith(" iommu=off memhp_default_state=online")
    for size in (299, 300):
        argv = build(plan(), max_memory=size)
        assert values(argv, "-m") == ["300M"]
        assert "iommu=off" not in values(argv, "-append")[0]
    config = HypervisorConfig(hypervisor_machine_type=MachineType.MICROVM)
    assert values(build(plan(config), max_memory=4096), "-m") == ["300M"]
    config = HypervisorConfig(machine_accelerators="nvdimm")
    argv = build(plan(config, image=Path("/i")), image_size=3 * 2**20, max_memory=4096)
    assert values(argv, "-m") == ["300M,slots=17,maxmem=4099M"]


def test_what_the_plan_does_not_have_is_left_out():
    argv = build(plan(kernel=None, initrd=None, ports=(), shares=()), sandbox=False)
    text = " ".join(argv)
    for word in ("-kernel", "-initrd", "-append", "-sandbox", "virtio-serial", "-fsdev"):
        assert word not in text


def test_sockets_lie_in_the_pods_folder():
    assert cmdline.sockets(plan()) == {
        "ctl": RUN / "ctl.sock",
        "mon": RUN / "mon.sock",
        "serial": RUN / "serial.sock",
        "agent.channel.0": RUN / "agent.sock",
        "agent.log.0": RUN / "agentlog.sock",
    }


def test_a_share_that_a_program_serves_is_a_device_of_it():
    """Its memory is one that the program can map; huge pages are, as they are."""
    shares = (Share(tag="kataShared", path=RUN / "share", socket=RUN / "share0.sock"),)
    argv = build(plan(shares=shares), served={"kataShared": 9}, nested=True)
    assert "-fsdev" not in argv
    assert "socket,id=share0,fd=9" in values(argv, "-chardev")
    device = "vhost-user-fs-pci,chardev=share0,tag=kataShared,queue-size=1024"
    assert device in values(argv, "-device")
    assert "memory-backend-memfd,id=ram,size=300M,share=on" in values(argv, "-object")
    for config, kind in (
        (HypervisorConfig(mem_prealloc=True), "memory-backend-memfd,id=ram,size=300M,share=on,p"),
        (HypervisorConfig(huge_pages=True), "memory-backend-file,id=ram,size=300M,mem-path=/h"),
    ):
        argv = build(plan(config, shares=shares), served={"kataShared": 9}, huge_pages=Path("/h"))
        assert any(one.startswith(kind) and "share=on" in one for one in values(argv, "-object"))
    config = HypervisorConfig(hypervisor_machine_type=MachineType.MICROVM)
    argv = build(plan(config, shares=shares), served={"kataShared": 9})
    assert device.replace("-pci", "-device") in values(argv, "-device")
    assert "virtio-mmio.force-legacy=false" in values(argv, "-global")


def test_commas_of_a_path_do_not_become_options():
    argv = build(plan(shares=(Share(tag="t", path=Path("/a,security_model=x,b")),)))
    assert values(argv, "-fsdev") == [
        "local,id=share0,path=/a,,security_model=x,,b,security_model=none,multidevs=remap"
    ]


@given(st.lists(st.tuples(st.text(min_size=1), st.text())))
def test_parameters_of_the_pod_come_last_in_their_order(pairs):
    params = tuple(Param(key=key, value=value) for key, value in pairs)
    line = cmdline.kernel_command_line(plan(HypervisorConfig(kernel_params=params)))
    assert line == " ".join(["console=ttyS0", "panic=1", *map(str, params)])


@pytest.mark.parametrize("field", HypervisorConfig.__struct_fields__)
def test_no_field_is_forgotten(field):
    """Fields that the plan itself carries, resolved, need nothing here."""
    carried = {"kernel_path", "image_path", "initrd_path", "hypervisor_path"}
    carried |= {"default_vcpus", "default_mem_sz"}
    carried |= {"mlock", "disable_nesting_checks"}  # they say how others are taken
    carried |= {"disable_block_device_use"}  # says what is given to the machine later
    carried |= {"shared_fs"}  # the plan's shares say who serves them
    other = {
        "firmware_path": "/fw",
        "machine_accelerators": "x=on",
        "hypervisor_machine_type": MachineType.PC,
        "kernel_params": (Param(key="a"),),
        "hypervisor_params": (Param(key="a"),),
        "debug": True,
        "mem_prealloc": True,
        "huge_pages": True,
        "realtime": True,
        "default_bridges": 3,
        "block_device_driver": BlockDeviceDriver.VIRTIO_SCSI,
    }
    assert field in carried | set(other)
    if field in other:
        assert build(plan(replace(HypervisorConfig(), **{field: other[field]}))) != build(plan())


@pytest.mark.parametrize("ports", [True, False], ids=["with an agent", "without one"])
def test_a_guest_may_have_its_console_by_virtio(ports: bool):
    params = (Param(key="console", value="ttyS0"), Param(key="console", value="hvc0"))
    fields = {} if ports else {"ports": ()}
    argv = build(plan(HypervisorConfig(kernel_params=params), **fields))
    devices = values(argv, "-device")
    assert "isa-serial,chardev=serial" not in devices
    at = devices.index("virtconsole,bus=ports.0,nr=0,chardev=serial")
    assert devices[at - 1].startswith("virtio-serial-pci,id=ports,")
    assert values(argv, "-append") == ["console=ttyS0 panic=1 console=ttyS0 console=hvc0"]
