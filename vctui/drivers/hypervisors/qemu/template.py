"""Guests that are saved once and go on in any number of machines.

The memory is a file that the saved machine shares with us and that later machines map privately;
QEMU's migration writes the rest, some hundred kilobytes, and reads it back (`x-ignore-shared`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from vctui.drivers.hypervisors.base import MachinePlan, Share
from vctui.drivers.hypervisors.qemu.program import Program
from vctui.errors import HypervisorError
from vctui.model.kinds import MachineType

if TYPE_CHECKING:
    from vctui.drivers.hypervisors.qemu.qmp import Session

_KEY_LENGTH: Final = 16
_MOST_VOLUMES: Final = 8
"""They take slots that containers' devices may need."""
_ANYWHERE: Final = Path("/template")
"""Stands for the folders of any pod."""
_CAPABILITIES: Final = ("x-ignore-shared", "events")
_STREAM: Final = "state"
"""What QEMU calls the descriptor that it is given."""
_ENDS: Final = frozenset({"completed", "failed"})


def why_cold(plan: MachinePlan, accelerator: str) -> str:
    """Why a machine of this plan has to boot, in words that follow "as"; "" where it has not."""
    config = plan.config
    reasons = {
        "KVM boots it quickly": accelerator == "kvm",
        "it names a kernel of its own": bool(config.kernel_path),
        "it names an initrd of its own": bool(config.initrd_path),
        "it boots a disk image": plan.image is not None,
        "it has a firmware of its own": bool(config.firmware_path),
        "a microvm has no template": config.hypervisor_machine_type is MachineType.MICROVM,
        "it has machine accelerators": bool(config.machine_accelerators),
        "it has huge pages": config.huge_pages,
        "its memory is allocated beforehand": config.mem_prealloc,
        "its memory is locked": config.realtime and config.mlock,
        "it has kernel parameters of its own": bool(config.kernel_params),
        "it has arguments for QEMU of its own": bool(config.hypervisor_params),
        "it is debugged": config.debug,
        "it has a network card of the host or of a vhost-user socket": any(
            not endpoint.tap for endpoint in plan.endpoints
        ),
        "virtio-fs is served to it": any(share.socket for share in plan.shares),
        "its agent is reached by vsock": plan.socket_type.is_vsock,
        f"it has more than {_MOST_VOLUMES} volumes": len(plan.shares) > 1 + _MOST_VOLUMES,
        "nobody in its guest says when it is ready": not plan.ports,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def likeness(plan: MachinePlan) -> MachinePlan:
    """The plan of the guest that is saved for it: the same but for names and folders."""
    return replace(
        plan,
        pod_id="template",
        uuid="",
        run_dir=_ANYWHERE,
        ports=tuple(replace(port, socket=_ANYWHERE / port.socket.name) for port in plan.ports),
        shares=tuple(replace(share, path=_ANYWHERE / "share") for share in plan.shares[:1]),
        memory_file=_ANYWHERE / "memory",
        netns=None,
        endpoints=(),
        restores=None,
    )


def key(plan: MachinePlan, program: Program, argv: tuple[str, ...]) -> str:
    """Names the guest that is saved for `plan` by everything that shapes it.

    Args:
        argv: QEMU's, for the plan's `likeness`.

    Raises:
        OSError: kernel or initrd is not there.
    """
    files = [_stamp(path) for path in (plan.kernel, plan.initrd) if path is not None]
    shape = msgspec.json.encode((argv, program, files))
    return hashlib.sha256(shape).hexdigest()[:_KEY_LENGTH]


async def save(session: Session, state: Path) -> None:
    """Raises HypervisorError, OSError."""
    await session.execute("stop")
    await _prepare(session, state, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    await session.execute("migrate", {"uri": f"fd:{_STREAM}"})
    await _migrated(session, "saved")


async def restore(session: Session, state: Path, shares: Sequence[Share]) -> None:
    """Let a machine that waits for it go on where the saved one stopped, and give it the `shares`
    that that had not.

    Raises HypervisorError, OSError.
    """
    await _prepare(session, state, os.O_RDONLY)
    await session.execute("migrate-incoming", {"uri": f"fd:{_STREAM}"})
    await _migrated(session, "restored")
    await session.execute("cont")
    if shares[1:]:
        from vctui.drivers.hypervisors.qemu import hotplug
    for number, share in enumerate(shares[1:], start=1):
        await hotplug.plug_share(session, number, share)


async def _prepare(session: Session, state: Path, flags: int) -> None:
    capabilities = [{"capability": name, "state": True} for name in _CAPABILITIES]
    await session.execute("migrate-set-capabilities", {"capabilities": capabilities})
    descriptor = os.open(state, flags | os.O_CLOEXEC, 0o600)
    try:
        await session.give_file(_STREAM, descriptor)
    finally:
        os.close(descriptor)


async def _migrated(session: Session, what: str) -> None:
    async for event in session.events():
        status = event.get("data", {}).get("status")
        if event.get("event") == "MIGRATION" and status in _ENDS:
            if status == "completed":
                return
            break
    raise HypervisorError(f"the guest could not be {what}; see qemu.log in its folder")


def _stamp(path: Path) -> tuple[str, int, int, int]:
    """Changes when the file does; what is in it would take long to look at."""
    there = path.stat()
    return (str(path), there.st_size, there.st_mtime_ns, there.st_ino)
