"""Small pure parts: kernel parameters, limits, statistics, crun's words, copied files."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from vctui.errors import AgentError
from vctui.guest import cgroup, files, stats
from vctui.guest.config import Config
from vctui.guest.crun import root_cannot_pivot
from vctui.guest.failure import failure
from vctui.guest.firstgroup import FirstGroup
from vctui.guest.sandbox import check_id
from vctui.wire.pb import agent_pb2, oci_pb2


def test_kernel_parameters() -> None:
    config = Config("console=ttyS0 agent.log=debug agent.debug_console agent.unknown=1 quiet")
    assert (config.level, config.debug_console) == (10, True)
    assert (Config("").level, Config("agent.debug_console=0").debug_console) == (20, False)
    assert (Config("").socket, Config("vctui.socket=vsock").socket) == ("serial", "vsock")
    for wrong in ("agent.log=loud", "vctui.socket=pipe", "vctui.protocol=http"):
        with pytest.raises(ValueError, match=wrong):
            Config(wrong)


@pytest.mark.parametrize("legal", ["ab", "a1", "A.b_c-d", "0" * 128])
def test_legal_ids(legal: str) -> None:
    check_id(legal)


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        (oci_pb2.LinuxResources(), []),
        (
            oci_pb2.LinuxResources(Memory=oci_pb2.LinuxMemory(Limit=100, Swap=150)),
            [("memory.max", "100"), ("memory.swap.max", "50")],
        ),
        (
            oci_pb2.LinuxResources(Memory=oci_pb2.LinuxMemory(Limit=-1, Swap=-1)),
            [("memory.max", "max"), ("memory.swap.max", "max")],
        ),
        (
            oci_pb2.LinuxResources(CPU=oci_pb2.LinuxCPU(Shares=1024, Quota=50000)),
            [("cpu.weight", "39"), ("cpu.max", "50000 100000")],
        ),
        (
            oci_pb2.LinuxResources(
                CPU=oci_pb2.LinuxCPU(Period=1000, Cpus="0-1"), Pids=oci_pb2.LinuxPids(Limit=-1)
            ),
            [("cpu.max", "max 1000"), ("cpuset.cpus", "0-1"), ("pids.max", "max")],
        ),
    ],
)
def test_limits(resources: oci_pb2.LinuxResources, expected: list[tuple[str, str]]) -> None:
    assert cgroup.limits(resources) == expected


def test_statistics(tmp_path: Path) -> None:
    group = cgroup.Cgroup(str(tmp_path), "c1")
    folder = tmp_path / "vctui" / "c1"
    (folder / "inner").mkdir(parents=True)
    for name, text in {
        "cpu.stat": "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_throttled 2\n",
        "memory.stat": "file 7\nanon 8\n",
        "memory.current": "99\n",
        "memory.max": "max\n",
        "pids.current": "3\n",
        "pids.max": "max\n",
        "io.stat": "8:0 rbytes=5 wbytes=6 rios=1 wios=2 dbytes=0\n",
        "cgroup.procs": "11\n12\n",
        "inner/cgroup.procs": "13\n",
    }.items():
        (folder / name).write_text(text)
    assert sorted(group.pids()) == [11, 12, 13]
    encoded = stats.container(group).encode()
    found = agent_pb2.StatsContainerResponse.FromString(encoded).cgroup_stats
    assert found.cpu_stats.cpu_usage.total_usage == 30_000
    assert found.cpu_stats.throttling_data.throttled_periods == 2
    assert found.memory_stats.usage.usage == 99
    assert found.memory_stats.usage.limit == 2**64 - 1
    assert dict(found.memory_stats.stats) == {"file": 7, "anon": 8}
    assert (found.pids_stats.current, found.pids_stats.limit) == (3, 0)
    assert [(e.op, e.value) for e in found.blkio_stats.io_service_bytes_recursive] == [
        ("Read", 5),
        ("Write", 6),
    ]


def test_statistics_of_a_group_that_is_gone_are_zeros(tmp_path: Path) -> None:
    group = cgroup.Cgroup(str(tmp_path), "c1")
    found = agent_pb2.StatsContainerResponse.FromString(stats.container(group).encode())
    assert found.cgroup_stats.memory_stats.usage.usage == 0
    assert group.pids() == []


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            "executable file `x` not found in $PATH: No such file or directory",
            "executable file `x` not found in $PATH",
        ),
        ("open executable: Permission denied", "executable file `x`: permission denied"),
        (
            "open executable: Operation not permitted",
            "executable file `x`: permission denied",
        ),
        (
            "the path `x` exists but it is not executable: Operation not permitted",
            "executable file `x`: permission denied",
        ),
        (
            "the path `x` is not a regular file: Operation not permitted",
            "executable file `x`: permission denied",
        ),
        ("exec: Exec format error", "executable file `x`: permission denied (exec format error)"),
        (
            "exec container process (missing dynamic library?) `/x`: No such file or directory",
            "executable file `x` not found: the interpreter or loader that it names is missing",
        ),
        ("exec: No such file or directory", "not found: the interpreter"),
        ("chdir `/w`: No such file or directory", "the working directory cannot be entered"),
        ("first line\nmount `a` to `b`: Invalid argument\n", "crun: mount `a` to `b`"),
        ("", "crun: crun gave no reason"),
    ],
)
def test_cruns_words(said: str, expected: str) -> None:
    assert expected in str(failure(said, "x"))


def test_roots_that_pivot() -> None:
    initial = "1 1 0:2 / / rw - rootfs rootfs rw\n25 1 0:21 / /proc rw - proc proc rw\n"
    bind = "30 1 0:2 / / rw - rootfs rootfs rw\n31 30 0:21 / /proc rw - proc proc rw\n"
    assert root_cannot_pivot(initial)
    assert not root_cannot_pivot(bind)
    assert not root_cannot_pivot(initial + bind)
    assert not root_cannot_pivot("")


class Copier:
    def __init__(self, folder: Path) -> None:
        self.shared = folder / "shared"

    def __call__(self, path: str, **fields: Any) -> None:
        fields = {"dir_mode": 0o750, "uid": os.getuid(), "gid": os.getgid(), **fields}
        request = agent_pb2.CopyFileRequest(path=f"{self.shared}/{path}", **fields)
        files.copy(request, str(self.shared))


@pytest.fixture
def copy(tmp_path: Path) -> Copier:
    return Copier(tmp_path)


def test_a_file_in_pieces_appears_when_it_is_whole(copy: Copier) -> None:
    target = copy.shared / "a" / "b.txt"
    copy("a/b.txt", file_mode=0o100640, file_size=6, data=b"abc")
    assert not target.exists()
    copy("a/b.txt", file_mode=0o100640, file_size=6, data=b"def", offset=3)
    assert target.read_bytes() == b"abcdef"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    copy("a/b.txt", file_mode=0o100600, file_size=1, data=b"x")
    assert target.read_bytes() == b"x"
    assert os.listdir(target.parent) == ["b.txt"]  # noqa: PTH208


def test_folders_and_links(copy: Copier) -> None:
    copy("d", file_mode=0o040711)
    copy("d", file_mode=0o040700)
    assert stat.S_IMODE((copy.shared / "d").stat().st_mode) == 0o700
    copy("l", file_mode=0o120777, data=b"/anywhere")
    copy("l", file_mode=0o120777, data=b"elsewhere")
    assert (copy.shared / "l").readlink() == Path("elsewhere")
    assert (copy.shared / "d" / "..").resolve() == copy.shared.resolve()


def test_no_link_is_followed(copy: Copier, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    copy("l", file_mode=0o120777, data=str(outside).encode())
    with pytest.raises(AgentError):
        copy("l/x", file_mode=0o100644, file_size=1, data=b"x")
    copy("l", file_mode=0o100644, file_size=1, data=b"x")  # replaces the link itself
    assert (copy.shared / "l").read_bytes() == b"x"
    assert not list(outside.iterdir())


@pytest.mark.parametrize("path", ["../x", "a/../../x", "", "a//b", "."])
def test_paths_outside_are_refused(copy: Copier, path: str) -> None:
    with pytest.raises(AgentError, match="does not lie below"):
        copy(path, file_mode=0o100644, data=b"x")


def test_devices_and_negative_sizes_are_refused(copy: Copier) -> None:
    with pytest.raises(AgentError, match="only files"):
        copy("x", file_mode=0o020644)
    with pytest.raises(AgentError, match="negative"):
        copy("x", file_mode=0o100644, offset=-1)


def test_a_group_that_is_ready_is_for_one_container_with_its_device_rules(tmp_path: Path) -> None:
    rules = [{"allow": False, "access": "rwm"}]
    first = FirstGroup(cgroup.Cgroup(str(tmp_path), "_first"), rules)

    def document(resources: dict[str, Any]) -> dict[str, Any]:
        return {"linux": {"cgroupsPath": "/vctui/c1", "resources": resources}}

    for other in ({}, {"devices": []}, {"devices": [*rules, *rules]}):
        unchanged = document(dict(other))
        assert first.take(unchanged) is None
        assert unchanged == document(dict(other))
    fitting = document({"devices": list(rules), "pids": {"limit": 1}})
    group = first.take(fitting)
    assert group is not None
    assert group.path == f"{tmp_path}/vctui/_first"
    assert fitting["linux"] == {"cgroupsPath": "/vctui/_first", "resources": {"pids": {"limit": 1}}}
    assert first.take(document({"devices": list(rules)})) is None


def test_controllers_are_handed_down_to_the_containers_parent(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids rdma misc\n")
    for folder in (tmp_path, tmp_path / "vctui"):
        folder.mkdir(exist_ok=True)
        (folder / "cgroup.subtree_control").touch()
    cgroup.prepare(str(tmp_path))
    for folder in (tmp_path, tmp_path / "vctui"):
        text = (folder / "cgroup.subtree_control").read_text()
        assert text == "+cpuset +cpu +io +memory +pids"
    (tmp_path / "vctui" / "cgroup.subtree_control").unlink()
    with pytest.raises(FileNotFoundError):
        cgroup.prepare(str(tmp_path))
