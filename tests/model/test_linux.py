"""Limits that a kernel would refuse are refused with the key's path."""

from __future__ import annotations

from typing import Any

import pytest

from vctui.errors import InvalidConfig
from vctui.model.checks import check_cmd, check_container
from vctui.model.container import Cmd, ContainerConfig
from vctui.model.linux import ContainerResources, DeviceRule, Linux, Rlimit
from vctui.model.seccomp import Seccomp, SeccompArg, SeccompRule

ALLOW = "SCMP_ACT_ALLOW"


def container(**fields: Any) -> ContainerConfig:
    return ContainerConfig(id="c1", rootfs="/r", cmd=Cmd(args=("x",)), **fields)


def seccomp(*rules: SeccompRule, **fields: Any) -> Seccomp:
    return Seccomp(default_action=ALLOW, syscalls=rules, **fields)


def condition(**fields: int) -> SeccompRule:
    arg = SeccompArg(op="SCMP_CMP_EQ", **fields)
    return SeccompRule(names=("kill",), action="SCMP_ACT_ERRNO", args=(arg,))


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
        check_container(container(resources=resources))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("linux", "said"),
    [
        (Linux(sysctl={"../x": "1"}), "linux.sysctl.../x is no kernel parameter"),
        (Linux(sysctl={"net": "1"}), "linux.sysctl.net is no kernel parameter"),
        (Linux(masked_paths=("proc",)), "linux.masked_paths[0] 'proc' is not absolute"),
        (Linux(rootfs_propagation="any"), "linux.rootfs_propagation 'any'"),
        (Linux(seccomp=Seccomp(default_action="SCMP_ACT_NOTIFY")), "seccomp.default_action"),
        (Linux(seccomp=seccomp(flags=("x",))), "seccomp.flags[0] 'x'"),
        (Linux(seccomp=seccomp(SeccompRule(names=(), action=ALLOW))), "syscalls[0].names is empty"),
        (
            Linux(seccomp=seccomp(SeccompRule(names=("a",), action=ALLOW, errno_ret=-1))),
            "syscalls[0].errno_ret is -1",
        ),
        (
            Linux(seccomp=seccomp(condition(index=6, value=1))),
            "syscalls[0].args[0] compares argument 6",
        ),
        (Linux(seccomp=seccomp(condition(index=0, value=2**64))), "more than 64 bits"),
    ],
)
def test_what_a_kernel_cannot_be_asked_for(linux: Linux, said: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        check_container(container(linux=linux))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("rlimits", "said"),
    [
        ((Rlimit(type="NOFILE", soft=1, hard=1),), "rlimits[0].type 'NOFILE' is none"),
        ((Rlimit(type="RLIMIT_CPU", soft=2, hard=1),), "rlimits[0] is 2 (soft) and 1 (hard)"),
        ((Rlimit(type="RLIMIT_CPU", soft=1, hard=1),) * 2, "rlimits[1].type RLIMIT_CPU is there"),
    ],
)
def test_limits_of_a_process_that_cannot_be(rlimits: tuple[Rlimit, ...], said: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        check_cmd(Cmd(args=("x",), rlimits=rlimits))
    assert said in str(caught.value)
    with pytest.raises(InvalidConfig, match="oom_score_adj is 1001"):
        check_cmd(Cmd(args=("x",), oom_score_adj=1001))


def test_no_quota_is_written_as_the_api_does() -> None:
    check_container(container(resources=ContainerResources(cpu_quota=-1)))
