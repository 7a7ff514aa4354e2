"""What /proc tells of processes (proc(5))."""

from __future__ import annotations

import os

from vctui.guest.plainfile import read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024
_MAX_ARGS = 4096
"""Bytes of a command line that are read."""


class Entry:
    """One process. Times are seconds, sizes KiB; pids are as the container sees them."""

    def __init__(self, stat: bytes, status: str, cmdline: bytes, boot_time: float) -> None:
        """
        Raises:
            ValueError, IndexError, KeyError: the texts are not those of a process.
        """
        opening, closing = stat.index(b"("), stat.rindex(b")")
        fields = stat[closing + 2 :].split()
        words = {
            name: value.split()
            for name, _, value in (line.partition(":") for line in status.splitlines())
        }
        self.guest_pid = int(stat[:opening])
        self.guest_ppid = int(fields[1])
        self.name = stat[opening + 1 : closing].decode(errors="replace")
        self.state = fields[0].decode()
        self.uid = int(words["Uid"][1])
        self.gid = int(words["Gid"][1])
        self.pid = int(words["NSpid"][-1])
        self.pgid = int(words["NSpgid"][-1])
        self.session = int(words["NSsid"][-1])
        self.ppid = 0
        """Of the container's processes; 0 if the parent is outside."""
        self.tty = int(fields[4])
        """Device number, 0 for none."""
        self.cpu = (int(fields[11]) + int(fields[12])) / _TICKS
        self.nice = int(fields[16])
        self.threads = int(fields[17])
        self.started = boot_time + int(fields[19]) / _TICKS
        self.vsz = int(fields[20]) // 1024
        self.rss = int(fields[21]) * _PAGE_KIB
        words_of_command = cmdline.rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
        self.args = words_of_command or f"[{self.name}]"


def entries(pids: Iterable[int], proc: str = "/proc") -> list[Entry]:
    """Those of the processes that are still there, by their pid in the container."""
    boot_time = 0.0
    for line in read(f"{proc}/stat").splitlines():
        if line.startswith(b"btime "):
            boot_time = float(line.split()[1])
    found = []
    for pid in pids:
        folder = f"{proc}/{pid}"
        try:
            stat = read(f"{folder}/stat")
            status = read(f"{folder}/status").decode(errors="replace")
            cmdline = read(f"{folder}/cmdline", _MAX_ARGS)
            found.append(Entry(stat, status, cmdline, boot_time))
        except (OSError, ValueError, IndexError, KeyError):
            continue  # it has ended
    in_guest = {entry.guest_pid: entry.pid for entry in found}
    for entry in found:
        entry.ppid = in_guest.get(entry.guest_ppid, 0)
    return sorted(found, key=lambda entry: entry.pid)


def handles(pid: int, signal: int, proc: str = "/proc") -> bool:
    """Whether a process has a handler of its own for a signal."""
    try:
        for line in read(f"{proc}/{pid}/status").splitlines():
            if line.startswith(b"SigCgt:"):
                return bool(int(line.split()[1], 16) >> (signal - 1) & 1)
    except (OSError, ValueError, IndexError):
        return False
    return False
