"""Devices that a container cannot have."""

from __future__ import annotations

import pytest

from vctui.errors import InvalidConfig
from vctui.model.checks import check_container
from vctui.model.container import Cmd, ContainerConfig
from vctui.model.device import DeviceInfo
from vctui.model.kinds import DeviceType

NULL = DeviceInfo(container_path="/dev/mine", major=1, minor=3)
FIFO = DeviceInfo(container_path="/dev/pipe", dev_type=DeviceType.FIFO)


def container(*devices: DeviceInfo) -> ContainerConfig:
    return ContainerConfig(id="main", rootfs="busybox", cmd=Cmd(args=("sh",)), device_infos=devices)


def device(path: str = "/dev/mine", **fields: object) -> DeviceInfo:
    return DeviceInfo(container_path=path, **{"major": 1, "minor": 3, **fields})


def test_several_devices_are_fine() -> None:
    config = container(NULL, FIFO)
    assert check_container(config) == config


@pytest.mark.parametrize(
    ("devices", "says"),
    [
        ((device(""),), r"device_infos\[0\]\.container_path '' is no path below /dev"),
        ((device("/etc/x"),), "'/etc/x' is no path below /dev"),
        ((device("/dev/"),), "is no path below /dev"),
        ((device("/dev/../x"),), "is no path below /dev"),
        ((device(major=0, minor=0),), r"host_path '' is not absolute; .* or its major and minor"),
        ((device(major=0, minor=0, host_path="null"),), "host_path 'null' is not absolute"),
        ((device(major=4096),), "major is 4096 but can be 4095 at most"),
        ((device(minor=-1),), "minor is -1 but cannot be negative"),
        ((device(file_mode=0o10000),), "file_mode is 4096 but can be 4095 at most"),
        ((device(uid=2**32),), "uid is 4294967296 but can be"),
        ((device(id="x"),), "hotplugged and id are reported, not chosen"),
        ((device(hotplugged=True),), "hotplugged and id are reported, not chosen"),
        ((device(dev_type=DeviceType.FIFO),), "mean nothing for a FIFO"),
        ((NULL, FIFO, NULL), r"device_infos\[2\]\.container_path .* is taken by device_infos\[0\]"),
    ],
)
def test_a_device_that_cannot_be_is_refused(devices: tuple[DeviceInfo, ...], says: str) -> None:
    with pytest.raises(InvalidConfig, match=says):
        check_container(container(*devices))
