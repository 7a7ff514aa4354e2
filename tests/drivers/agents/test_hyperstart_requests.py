"""Model → hyperstart's JSON: each kind of agent gets the keys that it knows."""

from __future__ import annotations

import pytest

from vctui.drivers.agents.base import ContainerSpec, SharedMount
from vctui.drivers.agents.hyperstart import requests
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
        ({"readonly_rootfs": True}, "read-only root file system"),
        ({"linux": Linux(sysctl={"kernel.shm_rmid_forced": "1"})}, "view of the kernel"),
        ({"resources": ContainerResources(memory_limit=1 << 30)}, "limits"),
        ({"cmd": Cmd(args=("sh",), no_new_privileges=True)}, "privileges"),
        ({"cmd": Cmd(args=("sh",), oom_score_adj=5)}, "oom_score_adj"),
        ({"mounts": (Mount(type="tmpfs", destination="/t"),)}, "volumes by tag and tmpfs mounts"),
    ],
)
def test_what_cannot_be_said_is_refused(more: dict[str, object], what: str):
    with pytest.raises(AgentUnsupported, match=what):
        requests.new_container(spec(**more), 4244)


def test_host_names_are_cut_to_what_a_kernel_takes():
    assert requests.start_pod("x" * 100)["hostname"] == "x" * 64
