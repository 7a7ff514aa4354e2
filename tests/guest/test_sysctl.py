"""Kernel parameters, written by the agent."""

from __future__ import annotations

from pathlib import Path

import pytest

from vctui.errors import AgentError
from vctui.guest import sysctl


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.core.somaxconn", "net/core/somaxconn"),
        ("net/ipv4/conf/eth0.1/forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("net.ipv4.conf.eth0/1.forwarding", "net/ipv4/conf/eth0.1/forwarding"),
    ],
)
def test_both_separators_are_understood(name: str, path: str) -> None:
    assert sysctl.path(name, "/proc") == f"/proc/sys/{path}"


@pytest.mark.parametrize("name", ["", "../x", "a/../../x", "/a", "a..b", "./a"])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(AgentError, match="no kernel parameter"):
        sysctl.path(name, "/proc")


def test_a_value_is_written_or_the_parameter_is_named(tmp_path: Path) -> None:
    (tmp_path / "sys/kernel").mkdir(parents=True)
    (tmp_path / "sys/kernel/msgmax").write_text("1")
    sysctl.apply({"kernel.msgmax": "9"}, str(tmp_path))
    assert (tmp_path / "sys/kernel/msgmax").read_text() == "9"
    with pytest.raises(AgentError, match="has no parameter vm"):
        sysctl.apply({"vm.none": "9"}, str(tmp_path))
    with pytest.raises(AgentError, match="refuses '9' for kernel: Is a directory"):
        sysctl.apply({"kernel": "9"}, str(tmp_path))
