"""Model → hyperstart's JSON: each kind of agent gets the keys that it knows."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from vctui.drivers.agents.base import ContainerSpec, GuestDisk, SharedMount
from vctui.drivers.agents.hyperstart import requests
from vctui.drivers.hypervisors.base import Place
from vctui.errors import AgentUnsupported
from vctui.model.container import Capabilities, Cmd, ContainerConfig, EnvVar, Mount
from vctui.model.linux import ContainerResources, Linux

HYPERSTART_KEYS = {"id", "image", "rootfs", "process", "restartPolicy", "initialize", "fsmap"}


def spec(cmd: Cmd | None = None, **more: object) -> ContainerSpec:
    config = ContainerConfig(id="c1", rootfs="/r", cmd=cmd or Cmd(args=("sh",)), **more)
    shared = tuple(
        SharedMount(mount=mount, shared=f"mounts/{index}")
        for index, mount in enumerate(config.mounts)
        if mount.type == "bind"
    )
    return ContainerSpec(config=config, hostname="web", rootfs="c1/rootfs", mounts=shared)


def test_hyperstart_gets_no_key_that_it_would_refuse():
    mount = Mount(source="/etc/hosts", destination="/etc/hosts", read_only=True)
    made = requests.new_container(spec(mounts=(mount,)), 4244)
    assert set(made) == HYPERSTART_KEYS
    assert (made["image"], made["rootfs"]) == ("c1", "rootfs")
    assert made["fsmap"] == [
        {
            "source": "mounts/0",
            "path": "/etc/hosts",
            "readOnly": True,
            "dockerVolume": False,
        }
    ]
    assert set(made["process"]) == {"id", "terminal", "args", "envs", "workdir"}


def test_clear_containers_agent_gets_capabilities_and_constraints_as_well():
    cmd = Cmd(args=("sh",), capabilities=Capabilities(bounding=("CAP_KILL",)))
    made = requests.new_container(spec(cmd), None)
    assert set(made) - HYPERSTART_KEYS == {"systemMountsInfo", "constraints"}
    assert made["process"]["capabilities"]["bounding"] == ["CAP_KILL"]
    assert made["process"]["capabilities"]["effective"] == []


def test_a_process_has_its_user_environment_and_folder():
    cmd = Cmd(
        args=("id",),
        user="www:web",
        supplementary_groups=("audio",),
        envs=(EnvVar(var="A", value="b"),),
        work_dir="/tmp",
        interactive=True,
    )
    made = requests.process("t1", cmd, 4244)
    assert (made["user"], made["group"], made["additionalGroups"]) == ("www", "web", ["audio"])
    envs = {each["env"]: each["value"] for each in made["envs"]}
    assert (envs["A"], envs["TERM"], made["workdir"]) == ("b", "xterm", "/tmp")
    assert made["terminal"]
    alone = requests.process("t1", Cmd(args=("id",), primary_group="web"), 4244)
    assert (alone["user"], alone["group"]) == ("0", "web")


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"linux": Linux(masked_paths=("/proc/x",))}, "view of the kernel"),
        ({"cmd": Cmd(args=("sh",), capabilities=Capabilities())}, "capabilities"),
        ({"resources": ContainerResources(memory_limit=1 << 30)}, "limits"),
        ({"cmd": Cmd(args=("sh",), no_new_privileges=True)}, "privileges"),
        ({"cmd": Cmd(args=("sh",), oom_score_adj=5)}, "oom_score_adj"),
        ({"mounts": (Mount(type="tmpfs", destination="/t"),)}, "volumes by tag and tmpfs mounts"),
    ],
)
def test_what_cannot_be_said_is_refused(more: dict[str, object], what: str):
    with pytest.raises(AgentUnsupported, match=what):
        requests.new_container(spec(**more), 4244)


@pytest.mark.parametrize("version", [4242, None])
def test_what_only_hyperstart_from_4243_on_knows_is_refused_elsewhere(version: int | None):
    parameters = {"kernel.shm_rmid_forced": "1"}
    for more in ({"readonly_rootfs": True}, {"linux": Linux(sysctl=parameters)}):
        with pytest.raises(AgentUnsupported):
            requests.new_container(spec(**more), version)
    made = requests.new_container(spec(readonly_rootfs=True, linux=Linux(sysctl=parameters)), 4244)
    assert (made["readOnly"], made["sysctl"]) == (True, parameters)


@pytest.mark.parametrize(("version", "key"), [(4244, "addr"), (4242, "addr"), (None, "scsiAddr")])
def test_a_root_file_system_on_a_disk_is_named_by_its_scsi_address(version, key):
    disk = GuestDisk(place=Place(scsi_address="3:1"), filesystem="ext4", folder="root")
    on_disk = replace(spec(), rootfs="", disk=disk)
    made = requests.new_container(on_disk, version)
    assert (made["fstype"], made[key], made["rootfs"]) == ("ext4", "3:1", "root")
    elsewhere = replace(on_disk, disk=replace(disk, place=Place(pci_path="02/01")))
    with pytest.raises(AgentUnsupported, match="virtio-scsi"):
        requests.new_container(elsewhere, version)


def test_clear_containers_agent_takes_no_new_privileges_from_a_first_process_only():
    cmd = Cmd(args=("sh",), no_new_privileges=True)
    assert requests.process("c1", cmd, None)["noNewPrivileges"]
    with pytest.raises(AgentUnsupported, match="no_new_privileges"):
        requests.process("t1", cmd, None, added=True)


def test_a_quota_without_a_period_has_the_kernels():
    made = requests.new_container(spec(resources=ContainerResources(cpu_quota=50_000)), None)
    assert made["constraints"] == {"CPUQuota": 50_000, "CPUPeriod": 100_000, "CPUShares": 0}


def test_host_names_are_cut_to_what_a_kernel_takes():
    assert requests.start_pod("x" * 100)["hostname"] == "x" * 64
