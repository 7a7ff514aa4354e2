"""Limits that a kernel would refuse are refused with the key's path."""

from __future__ import annotations

import pytest

from vctui.errors import InvalidConfig
from vctui.model.checks import check_container
from vctui.model.container import Cmd, ContainerConfig
from vctui.model.linux import ContainerResources, DeviceRule


def container(resources: ContainerResources) -> ContainerConfig:
    return ContainerConfig(id="c1", rootfs="/r", cmd=Cmd(args=("x",)), resources=resources)


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        (ContainerResources(cpu_quota=5), "resources.cpu_quota is 5 "),
        (ContainerResources(cpu_period=5), "resources.cpu_period is 5 "),
        (ContainerResources(cpu_shares=1), "resources.cpu_shares is 1 "),
        (ContainerResources(memory_limit=300), "resources.memory_limit is 300 bytes"),
        (ContainerResources(pids_limit=-1), "resources.pids_limit is -1 "),
        (ContainerResources(hugepage_limits={"2": 1}), "resources.hugepage_limits.2 is 1;"),
        (ContainerResources(devices=(DeviceRule(allow=True, type="p"),)), "devices[0] is for"),
        (ContainerResources(devices=(DeviceRule(allow=True, access="rr"),)), "devices[0] is for"),
        (ContainerResources(devices=(DeviceRule(allow=True, major=-2),)), "which is no device"),
    ],
)
def test_limits_that_cannot_be(resources: ContainerResources, said: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        check_container(container(resources))
    assert said in str(caught.value)


def test_no_quota_is_written_as_the_api_does() -> None:
    check_container(container(ContainerResources(cpu_quota=-1)))
