"""Model → hyperstart's JSON (hyperstart sheet, §4). Pure.

Clear Containers' agent and hyperstart itself differ in keys; hyperstart refuses a command with one
that it does not know. `version` says who reads: None is Clear Containers' agent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vctui.drivers.agents.base import ContainerSpec
from vctui.errors import AgentUnsupported
from vctui.model.capabilities import USUAL
from vctui.model.container import Cmd
from vctui.model.linux import ContainerResources, Linux
from vctui.wire import ttrpc

SHARE_TAG: Final = "hyperShared"
MAX_HOSTNAME: Final = 64
NO_LIMITS: Final = ContainerResources()
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TERM: Final = "xterm"


def start_pod(hostname: str) -> dict[str, Any]:
    return {"hostname": hostname[:MAX_HOSTNAME], "shareDir": SHARE_TAG}


def new_container(spec: ContainerSpec, version: int | None) -> dict[str, Any]:
    """
    Raises:
        AgentUnsupported: the container has what no agent of this protocol can be told.
    """
    config = spec.config
    _check(spec, version)
    image, _, rootfs = spec.rootfs.partition("/")
    container: dict[str, Any] = {
        "id": config.id,
        "image": image,
        "rootfs": rootfs,
        "process": process(config.id, config.cmd, version),
        "restartPolicy": "",
        "initialize": False,
    }
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
                "CPUPeriod": wanted.cpu_period,
                "CPUShares": wanted.cpu_shares,
            },
        }
    return container


def process(token: str, cmd: Cmd, version: int | None) -> dict[str, Any]:
    """Without the numbers of its streams, which are the proxy's to give.

    Raises:
        AgentUnsupported: it is to have what the agent cannot be told.
    """
    _refuse(
        f"process {cmd.args[0]!r}",
        {
            "limits of its own (rlimits, oom_score_adj)": bool(cmd.rlimits or cmd.oom_score_adj),
            "capabilities, nor takes privileges from it": version is not None
            and (cmd.capabilities is not None or cmd.no_new_privileges),
        },
    )
    user, _, group = cmd.user.partition(":")
    given = {each.var: each.value for each in cmd.envs}
    envs = {"PATH": _PATH, **({"TERM": _TERM} if cmd.interactive else {}), **given}
    made: dict[str, Any] = {
        "id": token,
        "terminal": cmd.interactive,
        "args": list(cmd.args),
        "envs": [{"env": name, "value": value} for name, value in envs.items()],
        "workdir": cmd.work_dir or "/",
    }
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
            "root file system on a disk": spec.disk is not None,
            "devices": bool(spec.devices),
            "read-only root file system": config.readonly_rootfs,
            "volumes by tag and tmpfs mounts": len(config.mounts) != len(spec.mounts),
            "limits (resources)": limits != (processor if version is None else NO_LIMITS),
            "view of the kernel of its own (linux)": config.linux != Linux(),
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
