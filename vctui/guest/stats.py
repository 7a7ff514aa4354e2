"""Pure: a cgroup's files → the protocol's statistics; and the agent's own metrics."""

from __future__ import annotations

from vctui.guest.cgroup import number, table
from vctui.wire.proto import message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from vctui.guest.cgroup import Cgroup

_IO_BYTES = (("rbytes", "Read"), ("wbytes", "Write"))
_IO_COUNTS = (("rios", "Read"), ("wios", "Write"))


def container(cgroup: Cgroup) -> Any:
    """StatsContainerResponse; what the kernel does not count is 0."""
    of_cpu = {name: number(value) for name, value in table(cgroup.read("cpu.stat")).items()}
    of_memory = {name: number(value) for name, value in table(cgroup.read("memory.stat")).items()}
    cpu = message("CpuStats")(
        cpu_usage=message("CpuUsage")(
            total_usage=of_cpu.get("usage_usec", 0) * 1000,
            usage_in_kernelmode=of_cpu.get("system_usec", 0) * 1000,
            usage_in_usermode=of_cpu.get("user_usec", 0) * 1000,
        ),
        throttling_data=message("ThrottlingData")(
            periods=of_cpu.get("nr_periods", 0),
            throttled_periods=of_cpu.get("nr_throttled", 0),
            throttled_time=of_cpu.get("throttled_usec", 0) * 1000,
        ),
    )
    memory = message("MemoryStats")(
        cache=of_memory.get("file", 0),
        usage=_memory(cgroup, "memory"),
        swap_usage=_memory(cgroup, "memory.swap"),
        use_hierarchy=True,
        stats=of_memory,
    )
    io = cgroup.read("io.stat")
    return message("StatsContainerResponse")(
        cgroup_stats=message("CgroupStats")(
            cpu_stats=cpu,
            memory_stats=memory,
            pids_stats=message("PidsStats")(
                current=number(cgroup.read("pids.current")),
                limit=number(cgroup.read("pids.max")) if cgroup.read("pids.max") != "max\n" else 0,
            ),
            blkio_stats=message("BlkioStats")(
                io_service_bytes_recursive=_io(io, _IO_BYTES),
                io_serviced_recursive=_io(io, _IO_COUNTS),
            ),
        )
    )


def metrics(load: str, meminfo: str, containers: int) -> str:
    """Text in the Prometheus exposition format out of /proc/loadavg and /proc/meminfo."""
    lines = [f"kata_guest_containers {containers}"]
    for minutes, value in zip(("1", "5", "15"), load.split(), strict=False):
        lines.append(f'kata_guest_load{{item="load{minutes}"}} {value}')
    for name, value in table(meminfo).items():
        lines.append(f'kata_guest_meminfo{{item="{name.rstrip(":")}"}} {value.split()[0]}')
    return "\n".join([*lines, ""])


def _memory(cgroup: Cgroup, prefix: str) -> Any:
    events = table(cgroup.read(f"{prefix}.events"))
    return message("MemoryData")(
        usage=number(cgroup.read(f"{prefix}.current")),
        max_usage=number(cgroup.read(f"{prefix}.peak")),
        failcnt=number(events.get("max", "")),
        limit=number(cgroup.read(f"{prefix}.max")),
    )


def _io(text: str, columns: tuple[tuple[str, str], ...]) -> list[Any]:
    """Lines of io.stat: `major:minor key=count …`."""
    found = []
    for line in text.splitlines():
        device, *pairs = line.split()
        major, _, minor = device.partition(":")
        counts = {name: number(count) for name, _, count in (each.partition("=") for each in pairs)}
        found += [
            message("BlkioStatsEntry")(
                major=number(major), minor=number(minor), op=operation, value=counts[column]
            )
            for column, operation in columns
            if column in counts
        ]
    return found
