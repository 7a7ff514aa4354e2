"""Which columns pods, containers, processes and events have; what stands in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar

from vctui.model.container import ContainerStatus
from vctui.model.events import Event
from vctui.model.guest import Guest
from vctui.model.hostnetwork import HostNetwork
from vctui.model.image import Image
from vctui.model.pod import PodStatus
from vctui.model.state import LIVE
from vctui.model.traffic import Traffic
from vctui.present import condition
from vctui.present.humanize import age, clock, duration, plain, size
from vctui.present.processes import GuestProcess

T = TypeVar("T")

_EPOCH: Final = datetime.fromtimestamp(0, UTC)


class Cell(NamedTuple):
    text: str
    role: str = ""
    """Name of a colour of the theme; "" for the usual one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column(Generic[T]):
    id: str
    title: str
    cell: Callable[[T, datetime], Cell]
    sort_key: Callable[[T], Any]
    width: int
    """Columns of the screen that it needs."""
    most: int = 0
    """It may grow to this where there is room; 0: it does not grow, -1: without limit."""
    align: Literal["left", "right"] = "left"
    priority: int = 0
    """The highest go first where there is no room; 0 always stays."""


def _pod_state(pod: PodStatus, now: datetime) -> Cell:
    it = condition.of_pod(pod)
    return Cell(str(it), it.role)


def _pod_containers(pod: PodStatus, now: datetime) -> Cell:
    running = sum(c.state in LIVE for c in pod.containers_status)
    return Cell(f"{running}/{len(pod.containers_status)}")


def _accelerator(pod: PodStatus, now: datetime) -> Cell:
    return Cell(pod.machine.accelerator if pod.machine else "-", "muted")


PODS: Final[tuple[Column[PodStatus], ...]] = (
    Column(
        id="name",
        title="NAME",
        cell=lambda pod, now: Cell(pod.id),
        sort_key=lambda pod: pod.id,
        width=12,
        most=40,
    ),
    Column(
        id="state",
        title="STATE",
        cell=_pod_state,
        sort_key=lambda pod: condition.of_pod(pod).rank,
        width=12,
    ),
    Column(
        id="containers",
        title="CTRS",
        cell=_pod_containers,
        sort_key=lambda pod: len(pod.containers_status),
        width=4,
        align="right",
        priority=2,
    ),
    Column(
        id="vcpus",
        title="CPU",
        cell=lambda pod, now: Cell(
            str(pod.machine.vcpus if pod.machine else pod.vm_config.vcpus or "-")
        ),
        sort_key=lambda pod: pod.machine.vcpus if pod.machine else pod.vm_config.vcpus,
        width=3,
        align="right",
        priority=4,
    ),
    Column(
        id="memory",
        title="MEM",
        cell=lambda pod, now: Cell(_mebibytes(pod)),
        sort_key=lambda pod: pod.machine.memory if pod.machine else pod.vm_config.memory,
        width=5,
        align="right",
        priority=3,
    ),
    Column(
        id="accelerator",
        title="ACCEL",
        cell=_accelerator,
        sort_key=lambda pod: pod.machine.accelerator if pod.machine else "",
        width=5,
        priority=5,
    ),
    Column(
        id="age",
        title="AGE",
        cell=lambda pod, now: Cell(age(pod.created_time, now), "muted"),
        sort_key=lambda pod: -pod.created_time.timestamp(),
        width=5,
        align="right",
        priority=1,
    ),
)


def _mebibytes(pod: PodStatus) -> str:
    memory = pod.machine.memory if pod.machine else pod.vm_config.memory
    return f"{memory}M" if memory else "-"


def _container_state(container: ContainerStatus, now: datetime) -> Cell:
    it = condition.of_container(container)
    return Cell(str(it), it.role)


def _exit_code(container: ContainerStatus, now: datetime) -> Cell:
    if container.exit_code is None:
        return Cell("-", "muted")
    return Cell(str(container.exit_code), "state-failed" if container.exit_code else "")


def _up(container: ContainerStatus, now: datetime) -> Cell:
    if container.start_time is None:
        return Cell("-", "muted")
    return Cell(duration((container.finished_time or now) - container.start_time), "muted")


CONTAINERS: Final[tuple[Column[ContainerStatus], ...]] = (
    Column(
        id="name",
        title="NAME",
        cell=lambda container, now: Cell(container.id),
        sort_key=lambda container: container.id,
        width=9,
        most=40,
    ),
    Column(
        id="state",
        title="STATE",
        cell=_container_state,
        sort_key=lambda container: condition.of_container(container).rank,
        width=10,
    ),
    Column(
        id="exit",
        title="EXIT",
        cell=_exit_code,
        sort_key=lambda container: -1 if container.exit_code is None else container.exit_code,
        width=4,
        align="right",
        priority=2,
    ),
    Column(
        id="up",
        title="UP",
        cell=_up,
        sort_key=lambda container: container.start_time or _EPOCH,
        width=5,
        align="right",
        priority=1,
    ),
    Column(
        id="command",
        title="COMMAND",
        cell=lambda container, now: Cell(plain(" ".join(container.args)), "muted"),
        sort_key=lambda container: container.args,
        width=12,
        most=-1,
        priority=3,
    ),
)


def _process_args(process: GuestProcess, now: datetime) -> Cell:
    return Cell(f"{process.args or '?'}{'  ⇄' if process.token else ''}")


PROCESSES: Final[tuple[Column[GuestProcess], ...]] = (
    Column(
        id="pid",
        title="PID",
        cell=lambda process, now: Cell(str(process.pid)),
        sort_key=lambda process: process.pid,
        width=5,
        align="right",
    ),
    Column(
        id="user",
        title="USER",
        cell=lambda process, now: Cell(process.user or "-", "muted"),
        sort_key=lambda process: process.user,
        width=6,
        priority=3,
    ),
    Column(
        id="state",
        title="S",
        cell=lambda process, now: Cell(process.state[:1] or "-", "muted"),
        sort_key=lambda process: process.state,
        width=1,
        priority=2,
    ),
    Column(
        id="cpu",
        title="CPU",
        cell=lambda process, now: Cell(_cpu_time(process.cpu_ms)),
        sort_key=lambda process: -process.cpu_ms,
        width=6,
        align="right",
        priority=1,
    ),
    Column(
        id="memory",
        title="MEM",
        cell=lambda process, now: Cell(size(process.rss_kib * 1024).replace(" ", "")),
        sort_key=lambda process: -process.rss_kib,
        width=7,
        align="right",
        priority=4,
    ),
    Column(
        id="args",
        title="COMMAND",
        cell=_process_args,
        sort_key=lambda process: process.args,
        width=10,
        most=-1,
    ),
)


def _cpu_time(milliseconds: int) -> str:
    seconds = milliseconds / 1000
    return f"{seconds:.1f}s" if seconds < 100 else duration(seconds)


GUESTS: Final[tuple[Column[Guest], ...]] = (
    Column(
        id="name",
        title="NAME",
        cell=lambda guest, now: Cell(guest.name),
        sort_key=lambda guest: guest.name,
        width=12,
        most=-1,
    ),
    Column(
        id="agent",
        title="AGENT",
        cell=lambda guest, now: Cell(f"{guest.agent_type} ({guest.agent_config.protocol})"),
        sort_key=lambda guest: guest.agent_type.value,
        width=14,
        priority=1,
    ),
    Column(
        id="files",
        title="BOOTS",
        cell=lambda guest, now: Cell(
            " ".join(
                path for path in (guest.kernel_path, guest.initrd_path or guest.image_path) if path
            )
            or "the built guest",
            "muted",
        ),
        sort_key=lambda guest: guest.kernel_path,
        width=20,
        priority=2,
    ),
)

IMAGES: Final[tuple[Column[Image], ...]] = (
    Column(
        id="name",
        title="NAME",
        cell=lambda image, now: Cell(image.name),
        sort_key=lambda image: image.name,
        width=20,
        most=-1,
    ),
    Column(
        id="id",
        title="ID",
        cell=lambda image, now: Cell(image.digest.removeprefix("sha256:")[:12], "muted"),
        sort_key=lambda image: image.digest,
        width=12,
        priority=1,
    ),
    Column(
        id="imported",
        title="IMPORTED",
        cell=lambda image, now: Cell(age(image.imported, now), "muted"),
        sort_key=lambda image: image.imported,
        width=8,
        priority=2,
    ),
    Column(
        id="size",
        title="SIZE",
        cell=lambda image, now: Cell(size(image.size)),
        sort_key=lambda image: -image.size,
        width=9,
        align="right",
    ),
)

TRAFFIC: Final[tuple[Column[Traffic], ...]] = (
    Column(
        id="interface",
        title="INTERFACE",
        cell=lambda one, now: Cell(plain(one.interface)),
        sort_key=lambda one: one.interface,
        width=9,
        most=15,
    ),
    Column(
        id="received",
        title="RECEIVED",
        cell=lambda one, now: Cell(size(one.received)),
        sort_key=lambda one: -one.received,
        width=9,
        align="right",
    ),
    Column(
        id="sent",
        title="SENT",
        cell=lambda one, now: Cell(size(one.sent)),
        sort_key=lambda one: -one.sent,
        width=9,
        align="right",
    ),
)

NETWORKS: Final[tuple[Column[HostNetwork], ...]] = (
    Column(
        id="name",
        title="NAME",
        cell=lambda network, now: Cell(network.name),
        sort_key=lambda network: network.name,
        width=12,
        most=40,
    ),
    Column(
        id="plugins",
        title="PLUGINS",
        cell=lambda network, now: Cell(",".join(network.plugins)),
        sort_key=lambda network: network.plugins,
        width=16,
        most=40,
        priority=2,
    ),
    Column(
        id="subnets",
        title="SUBNETS",
        cell=lambda network, now: Cell(plain(",".join(network.subnets)) or "-"),
        sort_key=lambda network: network.subnets,
        width=14,
        most=44,
    ),
    Column(
        id="bridge",
        title="BRIDGE",
        cell=lambda network, now: Cell(plain(network.bridge) or "-"),
        sort_key=lambda network: network.bridge,
        width=8,
        most=15,
        priority=1,
    ),
    Column(
        id="pods",
        title="PODS",
        cell=lambda network, now: Cell(str(len(network.pods))),
        sort_key=lambda network: -len(network.pods),
        width=4,
        align="right",
    ),
    Column(
        id="default",
        title="DEFAULT",
        cell=lambda network, now: Cell("yes" if network.default else ""),
        sort_key=lambda network: not network.default,
        width=7,
        priority=3,
    ),
)

EVENT_ROLES: Final[dict[str, str]] = {
    "failed": "error",
    "machine-died": "error",
    "warning": "warning",
    "recovered": "warning",
    "monitor-adopted": "warning",
    "pod-started": "state-running",
    "pod-resumed": "state-running",
    "pod-resized": "state-running",
    "container-started": "state-running",
    "pod-paused": "state-paused",
}

EVENTS: Final[tuple[Column[Event], ...]] = (
    Column(
        id="time",
        title="TIME",
        cell=lambda event, now: Cell(clock(event.time), "muted"),
        sort_key=lambda event: event.time,
        width=8,
    ),
    Column(
        id="kind",
        title="EVENT",
        cell=lambda event, now: Cell(event.kind.value, EVENT_ROLES.get(event.kind.value, "")),
        sort_key=lambda event: event.kind.value,
        width=17,
    ),
    Column(
        id="object",
        title="OBJECT",
        cell=lambda event, now: Cell("/".join(filter(None, (event.pod_id, event.container_id)))),
        sort_key=lambda event: (event.pod_id, event.container_id),
        width=12,
        most=30,
    ),
    Column(
        id="message",
        title="MESSAGE",
        cell=lambda event, now: Cell(plain(event.message, 2000)),
        sort_key=lambda event: event.message,
        width=20,
        most=-1,
    ),
)


def layout(columns: tuple[Column[T], ...], width: int, gap: int = 2) -> list[tuple[Column[T], int]]:
    """The columns that fit into `width`, each with the width it gets, in their order.

    The least important go first; what is left over goes to the columns that may grow, from
    the first to the last.
    """
    shown = list(columns)

    def needed() -> int:
        return sum(column.width for column in shown) + gap * max(len(shown) - 1, 0)

    while needed() > width and any(column.priority for column in shown):
        shown.remove(max(shown, key=lambda column: column.priority))
    spare = max(width - needed(), 0)
    widths = []
    for column in shown:
        room = spare if column.most < 0 else min(max(column.most - column.width, 0), spare)
        if column.most > 0 and any(other.most < 0 for other in shown):
            room //= 2
        spare -= room
        widths.append(column.width + room)
    while sum(widths) + gap * (len(widths) - 1) > width and max(widths, default=0) > 4:
        widths[widths.index(max(widths))] -= 1
    return list(zip(shown, widths, strict=True))
