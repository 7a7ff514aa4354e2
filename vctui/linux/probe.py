"""What this machine can do: facts for `doctor` and for choosing a way."""

from __future__ import annotations

import functools
import os
import resource
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

_PROGRAM_FOLDERS: Final = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin")


def is_root() -> bool:
    return os.geteuid() == 0


def find_program(name: str) -> Path | None:
    """The executable `name`: a path as it is, or looked up in PATH and the system's folders."""
    folders = [*os.environ.get("PATH", "").split(os.pathsep), *_PROGRAM_FOLDERS]
    absolute = [folder for folder in folders if folder.startswith("/")]
    found = shutil.which(name, path=os.pathsep.join(absolute))
    return Path(found).absolute() if found else None


def has_ipv6() -> bool:
    """Whether the loopback device has an address of IPv6."""
    try:
        lines = Path("/proc/net/if_inet6").read_text(encoding="ascii").splitlines()
    except OSError:
        return False
    return any(line.split()[-1] == "lo" for line in lines)


@functools.cache
def boot_id() -> str:
    """Changes with every boot of this machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def memory_mib() -> tuple[int, int]:
    """Total and available memory in MiB."""
    facts = {}
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        facts[name] = int(value.split()[0])
    return facts["MemTotal"] // 1024, facts.get("MemAvailable", facts["MemFree"]) // 1024


class HugePages(msgspec.Struct, frozen=True):
    """Huge pages of the default size."""

    folder: Path | None
    """Where hugetlbfs is mounted; None where it is not."""
    page_mib: int
    free_mib: int


def huge_pages() -> HugePages:
    facts = {}
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        facts[name] = int(value.split()[0])
    page_mib = facts.get("Hugepagesize", 0) // 1024
    free = facts.get("HugePages_Free", 0) - facts.get("HugePages_Rsvd", 0)
    return HugePages(_hugetlbfs(page_mib), page_mib, free * page_mib)


def _hugetlbfs(page_mib: int) -> Path | None:
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _, folder, kind, options = line.split()[:4]
        sizes = [word for word in options.split(",") if word.startswith("pagesize=")]
        if kind == "hugetlbfs" and sizes in ([], [f"pagesize={page_mib}M"]):
            return Path(folder.encode().decode("unicode_escape"))
    return None


def open_files() -> int:
    """How many files a process of ours may have open at most."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return sys.maxsize if most == resource.RLIM_INFINITY else most


def is_virtual_machine(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this host runs on top of a hypervisor itself (CPU flag `hypervisor`)."""
    with cpuinfo.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() == "flags":
                return "hypervisor" in value.split()
    return False


def has_module(name: str) -> bool:
    """Whether the running kernel has a module of that name: loaded, built in, or on the disk."""
    wanted = name.replace("-", "_")
    if Path("/sys/module", wanted).is_dir():
        return True
    folder = Path("/lib/modules", os.uname().release)
    for listing in ("modules.builtin", "modules.dep"):
        try:
            text = (folder / listing).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        for line in text.splitlines():
            file = line.partition(":")[0].rpartition("/")[2]
            if file.partition(".")[0].replace("-", "_") == wanted:
                return True
    return False


def can_use_netns() -> bool:
    """Whether we may make network namespaces: root with the capability for it."""
    return Path("/proc/self/ns/net").exists() and _has_capability(_CAP_SYS_ADMIN)


def can_mount() -> bool:
    return _has_capability(_CAP_SYS_ADMIN)


def programs_in(folders: Iterable[Path]) -> tuple[str, ...]:
    """Names of the programs that lie in any of the folders."""
    names = {
        path.name
        for folder in folders
        if folder.is_dir()
        for path in folder.iterdir()
        if path.is_file() and os.access(path, os.X_OK)
    }
    return tuple(sorted(names))


def device_problem(path: Path) -> str:
    """Why a device cannot be opened for reading and writing, in words; "" where it can."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return f"there is no {path}"
    except PermissionError:
        return f"{path} is closed to user {os.geteuid()}"
    except OSError as error:
        return f"{path} cannot be opened: {error.strerror}"
    return ""


_CAP_SYS_ADMIN: Final = 21


def _has_capability(number: int) -> bool:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False
