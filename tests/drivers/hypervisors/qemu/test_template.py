"""Which machines one saved guest serves, and which have to boot."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.fakes.plans import machine_plan
from vctui.drivers.hypervisors.base import MachinePlan, Port, SavedGuest, Share
from vctui.drivers.hypervisors.qemu import cmdline, template
from vctui.drivers.hypervisors.qemu.program import Program
from vctui.model.hypervisor import HypervisorConfig, Param
from vctui.model.kinds import MachineType

PROGRAM = Program(path="/usr/bin/qemu", stamp=1, version="7.2", sandbox=True, nine_p=True)


@pytest.fixture
def plan(tmp_path: Path) -> MachinePlan:
    return make(tmp_path, "web")


def make(tmp_path: Path, pod_id: str, **fields: object) -> MachinePlan:
    for name in ("vmlinux", "initrd"):
        if not (tmp_path / name).exists():
            (tmp_path / name).write_bytes(name.encode())
    usual = {
        "pod_id": pod_id,
        "kernel": tmp_path / "vmlinux",
        "initrd": tmp_path / "initrd",
        "kernel_params": ("console=ttyS0",),
    }
    return machine_plan(tmp_path / pod_id, **{**usual, **fields})


def argv(plan: MachinePlan, **how: object) -> tuple[str, ...]:
    numbers = {name: number for number, name in enumerate(cmdline.sockets(plan))}
    options: dict[str, object] = {
        "program": Path("/usr/bin/qemu"),
        "accelerator": "tcg",
        "listening": numbers,
        "sandbox": True,
        **how,
    }
    return cmdline.build(plan, **options)  # type: ignore[arg-type]


def key(plan: MachinePlan, program: Program = PROGRAM, **how: object) -> str:
    return template.key(plan, program, argv(template.likeness(plan), **how))


def test_pods_that_differ_in_their_names_and_folders_alone_share_a_template(
    plan: MachinePlan, tmp_path: Path
):
    assert key(plan) == key(make(tmp_path, "other"))
    assert len(key(plan)) == 16


@pytest.mark.parametrize(
    "fields",
    [
        {"vcpus": 2},
        {"memory": 512},
        {"kernel_params": ("console=ttyS0", "agent.log=debug")},
        {"config": HypervisorConfig(hypervisor_machine_type=MachineType.PC)},
        {"config": HypervisorConfig(default_bridges=3)},
        {"ports": ()},
        {"ports": (Port(name="sh.hyper.channel.0", socket=Path("/run/agent.sock")),)},
        {"shares": ()},
        {"shares": (Share(tag="other", path=Path("/share")),)},
    ],
    ids=str,
)
def test_what_shapes_the_machine_shapes_the_key(
    plan: MachinePlan, tmp_path: Path, fields: dict[str, object]
):
    assert key(make(tmp_path, "web", **fields)) != key(plan)


def test_so_do_qemu_the_accelerator_and_the_files_that_boot(plan: MachinePlan, tmp_path: Path):
    upgraded = Program(path="/usr/bin/qemu", stamp=2, version="7.2", sandbox=True, nine_p=True)
    found = {key(plan), key(plan, upgraded), key(plan, accelerator="kvm"), key(plan, max_vcpus=4)}
    for name in ("vmlinux", "initrd"):
        (tmp_path / name).write_bytes(b"another")
        found.add(key(plan))
    assert len(found) == 6


def test_a_saved_guest_shares_its_memory_and_learns_no_identity(plan: MachinePlan, tmp_path: Path):
    saved = argv(replace(plan, memory_file=tmp_path / "memory"))
    backend = f"memory-backend-file,id=ram,size=256M,mem-path={tmp_path}/memory,share=on"
    assert saved[saved.index("-object") + 1] == backend
    assert saved[saved.index("-machine") + 1].endswith(",memory-backend=ram")
    assert "-uuid" not in saved
    assert plan.uuid not in saved
    assert any(word.endswith(f"logfile={tmp_path}/web/console.log") for word in saved)


def test_a_machine_that_goes_on_as_it_changes_a_copy_and_waits(plan: MachinePlan, tmp_path: Path):
    guest = SavedGuest(memory=Path("/t/memory"), state=Path("/t/state"), console=Path("/t/console"))
    restored = argv(replace(plan, restores=guest))
    backend = "memory-backend-file,id=ram,size=256M,mem-path=/t/memory,share=off"
    assert restored[restored.index("-object") + 1] == backend
    assert restored[restored.index("-incoming") + 1] == "defer"
    assert restored[restored.index("-uuid") + 1] == plan.uuid
    assert not any("logfile" in word for word in restored)


def test_volumes_are_served_from_the_start_and_shown_later(plan: MachinePlan, tmp_path: Path):
    guest = SavedGuest(memory=Path("/t/memory"), state=Path("/t/state"), console=Path("/t/console"))
    volume = Share(tag="site", path=Path("/srv"))
    with_volume = replace(plan, shares=(*plan.shares, volume))
    assert key(with_volume) == key(plan)
    restored = argv(replace(with_volume, restores=guest))
    assert sum(word.startswith("local,id=share") for word in restored) == 2
    assert [word for word in restored if word.startswith("virtio-9p-pci")] == [
        "virtio-9p-pci,fsdev=share0,mount_tag=kataShared"
    ]


def test_a_usual_pod_needs_not_boot(plan: MachinePlan):
    assert template.why_cold(plan, "tcg") == ""


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"huge_pages": True}, "huge pages"),
        ({"mem_prealloc": True}, "allocated beforehand"),
        ({"realtime": True, "mlock": True}, "locked"),
        ({"kernel_path": "/vmlinux"}, "kernel of its own"),
        ({"initrd_path": "/initrd"}, "initrd of its own"),
        ({"firmware_path": "/bios"}, "firmware of its own"),
        ({"machine_accelerators": "nvdimm"}, "machine accelerators"),
        ({"kernel_params": (Param(key="quiet"),)}, "kernel parameters of its own"),
        ({"hypervisor_params": (Param(key="s"),)}, "arguments for QEMU"),
        ({"debug": True}, "debugged"),
        ({"hypervisor_machine_type": MachineType.MICROVM}, "microvm"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_one_that_is_configured_otherwise_boots_and_says_why(
    plan: MachinePlan, config: dict[str, object], words: str
):
    configured = replace(plan, config=HypervisorConfig(**config))  # type: ignore[arg-type]
    assert words in template.why_cold(configured, "tcg")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"image": Path("/disk.img")}, "disk image"),
        ({"ports": ()}, "nobody in its guest"),
        ({"shares": tuple(Share(tag=f"t{n}", path=Path("/a")) for n in range(10))}, "8 volumes"),
        ({"shares": (Share(tag="a", path=Path("/a"), socket=Path("/s")),)}, "virtio-fs"),
    ],
    ids=["image", "ports", "volumes", "virtio-fs"],
)
def test_so_does_one_of_another_shape(plan: MachinePlan, fields: dict[str, object], words: str):
    assert words in template.why_cold(replace(plan, **fields), "tcg")  # type: ignore[arg-type]


def test_kvm_boots(plan: MachinePlan):
    assert "KVM" in template.why_cold(plan, "kvm")
