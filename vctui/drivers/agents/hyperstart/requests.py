"""Model → hyperstart's JSON (hyperstart sheet, §4). Pure.

Clear Containers' agent and hyperstart itself differ in keys; hyperstart refuses a command with one
that it does not know. `version` says who reads: None is Clear Containers' agent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from vctui.drivers.agents.base import ContainerSpec
from vctui.drivers.agents.hyperstart import network as networks
from vctui.errors import AgentUnsupported
from vctui.model.capabilities import USUAL
from vctui.model.container import Cmd
from vctui.model.linux import PERIOD, ContainerResources, Linux
from vctui.model.network import PodNetwork
from vctui.wire import hyperstart, ttrpc

SHARE_TAG: Final = "hyperShared"
MAX_HOSTNAME: Final = 64
NO_LIMITS: Final = ContainerResources()
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TERM: Final = "xterm"


def start_pod(
    hostname: str, network: PodNetwork | None = None, version: int | None = None
) -> dict[str, Any]:
    made: dict[str, Any] = {"hostname": hostname[:MAX_HOSTNAME], "shareDir": SHARE_TAG}
    if network is not None:
        told = {
            "interfaces": networks.interfaces(network, version),
            "routes": networks.routes(network, version),
        }
        made |= {key: value for key, value in told.items() if value}
        made |= networks.dns(network.dns, version)
    return made


def new_container(spec: ContainerSpec, version: int | None) -> dict[str, Any]:
    """
    Raises:
        AgentUnsupported: the container has what no agent of this protocol can be told.
    """
    config = spec.config
    _check(spec, version)
    image, _, rootfs = spec.rootfs.partition("/")
    if spec.disk is not None:
        image, rootfs = config.id, spec.disk.folder or "."
    container: dict[str, Any] = {
        "id": config.id,
        "image": image,
        "rootfs": rootfs,
        "process": process(config.id, config.cmd, version),
        "restartPolicy": "",
        "initialize": False,
    }
    if spec.disk is not None:
        where = "scsiAddr" if version is None else "addr"
        container |= {"fstype": spec.disk.filesystem, where: spec.disk.place.scsi_address}
    if config.linux.sysctl:
        container["sysctl"] = config.linux.sysctl
    if config.readonly_rootfs:
        container["readOnly"] = True
    if maps := [
        _fsmap(each.shared, each.mount.destination, each.mount.read_only, version)
        for each in spec.mounts
    ]:
        container["fsmap"] = maps
    if version is None:
        wanted = config.resources
        container |= {
            "systemMountsInfo": {"bindMountDev": False, "devShmSize": 65536 * 1024},
            "constraints": {
                "CPUQuota": wanted.cpu_quota,
                "CPUPeriod": wanted.cpu_period or (PERIOD if wanted.cpu_quota > 0 else 0),
                "CPUShares": wanted.cpu_shares,
            },
        }
    return container


def process(token: str, cmd: Cmd, version: int | None, *, added: bool = False) -> dict[str, Any]:
    """Without the numbers of its streams, which are the proxy's to give.

    Args:
        added: it is not the container's first one.

    Raises:
        AgentUnsupported: it is to have what the agent cannot be told.
    """
    _refuse(
        f"process {cmd.args[0]!r}",
        {
            "limits of its own (rlimits, oom_score_adj)": bool(cmd.rlimits or cmd.oom_score_adj),
            "capabilities, nor takes privileges from it": version is not None
            and (cmd.capabilities is not None or cmd.no_new_privileges),
            "empty set of capabilities": cmd.capabilities is not None
            and not cmd.capabilities.bounding,
            "no_new_privileges, as it is no container's first one": added and cmd.no_new_privileges,
        },
    )
    user, _, group = cmd.user.partition(":")
    given = {each.var: each.value for each in cmd.envs}
    envs = {"PATH": _PATH, **({"TERM": _TERM} if cmd.interactive else {}), **given}
    made: dict[str, Any] = {
        "terminal": cmd.interactive,
        "args": list(cmd.args),
        "envs": [{"env": name, "value": value} for name, value in envs.items()],
        "workdir": cmd.work_dir or "/",
    }
    if version is not None and version >= hyperstart.API_EVENTS:
        made["id"] = token  # one before comes to a halt at a key that it does not know
    if user:
        made["user"] = user
    if group := cmd.primary_group or group:
        made["group"] = group
        made.setdefault("user", "0")
    if cmd.supplementary_groups:
        made["additionalGroups"] = list(cmd.supplementary_groups)
    if version is None:
        sets = cmd.capabilities
        made["noNewPrivileges"] = cmd.no_new_privileges
        made["capabilities"] = {
            "bounding": list(USUAL if sets is None else sets.bounding),
            "effective": list(USUAL if sets is None else sets.effective),
            "inheritable": list(() if sets is None else sets.inheritable),
            "permitted": list(USUAL if sets is None else sets.permitted),
            "ambient": list(() if sets is None else sets.ambient),
        }
    return made


def _fsmap(shared: str, path: str, read_only: bool, version: int | None) -> dict[str, Any]:
    made: dict[str, Any] = {
        "source": shared,
        "path": path,
        "readOnly": read_only,
        "dockerVolume": False,
    }
    return made | ({"absolutePath": False, "scsiAddr": ""} if version is None else {})


def _check(spec: ContainerSpec, version: int | None) -> None:
    config, limits = spec.config, spec.config.resources
    processor = ContainerResources(
        cpu_quota=limits.cpu_quota, cpu_period=limits.cpu_period, cpu_shares=limits.cpu_shares
    )
    _refuse(
        f"container {config.id!r}",
        {
            "root file system on a disk that is only read": spec.disk is not None
            and spec.disk.read_only,
            "root file system on a virtio-blk disk, whose name in the guest is unknown here "
            "(hypervisor_config.block_device_driver virtio-scsi has an address)": spec.disk
            is not None
            and not spec.disk.place.scsi_address,
            "devices": bool(spec.devices),
            "read-only root file system": config.readonly_rootfs
            and (version is None or version < hyperstart.API_EVENTS),
            "volumes by tag and tmpfs mounts": len(config.mounts) != len(spec.mounts),
            "limits (resources)": limits != (processor if version is None else NO_LIMITS),
            "kernel parameters (linux.sysctl)": bool(config.linux.sysctl)
            and (version is None or version < hyperstart.API_EVENTS),
            "view of the kernel of its own (linux)": msgspec.structs.replace(
                config.linux, sysctl={}
            )
            != Linux(),
            "start_hooks": bool(config.start_hooks),
        },
    )


def _refuse(whom: str, wanted: Mapping[str, bool]) -> None:
    for what, is_wanted in wanted.items():
        if is_wanted:
            raise AgentUnsupported(
                f"the agent gives {whom} no {what}; leave that out, or use a guest with the agent "
                "kata",
                code=ttrpc.UNIMPLEMENTED,
            )
