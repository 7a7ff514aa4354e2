"""Which device of the host a container's device is (behaviour sheet §7.4)."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from vctui.drivers.devices import host
from vctui.errors import FileProblem, HostProblem
from vctui.model.device import DeviceInfo
from vctui.model.kinds import DeviceType

INFO = DeviceInfo(container_path="/dev/mine", major=10, minor=229)


def uevent(sys: Path, name: str, text: str) -> None:
    folder = sys / "dev" / name
    folder.mkdir(parents=True)
    (folder / "uevent").write_text(text)


@pytest.mark.parametrize(
    ("kind", "folder"),
    [
        (DeviceType.CHARACTER, "char"),
        (DeviceType.UNBUFFERED, "char"),
        (DeviceType.BLOCK, "block"),
    ],
)
def test_numbers_lead_to_the_name_that_the_kernel_has(tmp_path, kind, folder):
    uevent(tmp_path, f"{folder}/10:229", "MAJOR=10\nMINOR=229\nDEVNAME=net/x\nA=b=c\n")
    info = msgspec.structs.replace(INFO, dev_type=kind)
    assert host.path_of(info, sys=tmp_path) == "/dev/net/x"
    resolved = host.resolve(info, sys=tmp_path)
    assert resolved == msgspec.structs.replace(info, host_path="/dev/net/x")


def test_a_device_that_the_host_lacks_is_called_as_in_the_container(tmp_path):
    assert host.path_of(INFO, sys=tmp_path) == "/dev/mine"


@pytest.mark.parametrize("text", ["", "MAJOR=10\n", "DEVNAME=\n", "nonsense"])
def test_a_device_without_a_name_is_an_error(tmp_path, text):
    uevent(tmp_path, "char/10:229", text)
    with pytest.raises(FileProblem, match="does not name the device 10:229; set its host_path"):
        host.path_of(INFO, sys=tmp_path)


def test_a_fifo_has_no_path_on_the_host(tmp_path):
    fifo = DeviceInfo(container_path="/dev/pipe", dev_type=DeviceType.FIFO)
    assert host.path_of(fifo, sys=tmp_path) == ""
    assert host.resolve(fifo, sys=tmp_path) is fifo


def test_a_path_leads_to_the_numbers():
    info = host.resolve(DeviceInfo(container_path="/dev/mine", host_path="/dev/zero"))
    assert (info.major, info.minor) == (1, 5)
    link = host.resolve(
        DeviceInfo(container_path="/dev/mine", host_path="/proc/self/../../dev/null")
    )
    assert (link.major, link.minor) == (1, 3)


def test_a_path_of_something_else_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for path, words in (
        (tmp_path / "file", "is no character device"),
        (tmp_path / "no", "No such"),
    ):
        with pytest.raises(FileProblem, match=words):
            host.resolve(DeviceInfo(container_path="/dev/mine", host_path=str(path)))
    with pytest.raises(FileProblem, match="is no block device"):
        host.resolve(
            DeviceInfo(container_path="/dev/x", host_path="/dev/null", dev_type=DeviceType.BLOCK)
        )


def test_a_disk_must_be_one(tmp_path):
    (tmp_path / "file").touch()
    for path, words in ((tmp_path / "no", "No such file"), (tmp_path / "file", "no block device")):
        info = DeviceInfo(
            container_path="/dev/x", host_path=str(path), dev_type=DeviceType.BLOCK, major=8
        )
        with pytest.raises((HostProblem, FileProblem), match=words):
            host.check(info)
