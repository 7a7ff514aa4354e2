"""Agent, proxy and shim that mean nothing together are refused with the key and the remedy."""

from __future__ import annotations

import itertools

import pytest

from vctui.errors import InvalidConfig
from vctui.model import pairing
from vctui.model.checks import check_pod
from vctui.model.container import Cmd, ContainerConfig
from vctui.model.kinds import AgentType, ProxyType, ShimType
from vctui.model.pod import PodConfig
from vctui.model.podfile import Format, parse_pod


def pod(**keys) -> PodConfig:
    return check_pod(PodConfig(id="web", **keys))


@pytest.mark.parametrize("agent", AgentType)
def test_a_pod_that_names_nothing_has_what_fits_its_agent(agent: AgentType):
    config = pod(agent_type=agent)
    assert pairing.proxy_type(config) in pairing.PROXIES[agent]
    assert pairing.shim_type(config) in pairing.SHIMS[pairing.proxy_type(config)]


def test_a_shim_that_is_not_named_fits_the_proxy_that_is():
    config = pod(proxy_type="kataProxy", proxy_config={"path": "/usr/libexec/kata-proxy"})
    assert pairing.shim_type(config) is ShimType.BUILTIN


@pytest.mark.parametrize(
    ("keys", "protocol"),
    [
        ({}, "ttrpc"),
        ({"agent_config": {"protocol": "grpc"}}, "grpc"),
        ({"hypervisor_config": {"initrd_path": "/i"}}, "auto"),
        ({"proxy_type": "kataProxy", "proxy_config": {"path": "/p"}}, "grpc"),
        ({"shim_type": "kataShim", "shim_config": {"path": "/s"}}, "grpc"),
    ],
)
def test_the_protocol_is_known_from_guest_and_programs(keys, protocol):
    assert pairing.agent_protocol(pod(**keys)) == protocol


@pytest.mark.parametrize(
    ("agent", "proxy", "shim"), list(itertools.product(AgentType, ProxyType, ShimType))
)
def test_every_combination_is_taken_or_refused_by_the_tables(agent, proxy, shim):
    keys = {"agent_type": agent, "proxy_type": proxy, "shim_type": shim}
    for key, chosen in (("proxy_config", proxy), ("shim_config", shim)):
        if chosen in pairing.EXTERNAL:
            keys[key] = {"path": "/usr/libexec/program"}
    if proxy is ProxyType.NO:
        keys["agent_config"] = {"socket_type": "vsock"}
    if proxy in pairing.PROXIES[agent] and shim in pairing.SHIMS[proxy]:
        assert pairing.proxy_type(pod(**keys)) is proxy
        return
    with pytest.raises(InvalidConfig, match=r"_type \w+ does not go with the \w+ \w+; use "):
        pod(**keys)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (
            {"proxy_config": {"path": "/usr/bin/kata-proxy"}},
            "proxy_config.path has no effect with proxy_type kataBuiltInProxy",
        ),
        (
            {"proxy_config": {"debug": True}},
            "proxy_config.debug has no effect with proxy_type kataBuiltInProxy",
        ),
        (
            {"shim_config": {"debug": True}},
            "shim_config.debug has no effect with shim_type kataBuiltInShim",
        ),
        (
            {"shim_type": "noopShim", "shim_config": {"path": "/s"}},
            "shim_config.path has no effect with shim_type noopShim",
        ),
        (
            {"proxy_type": "kataProxy", "shim_type": "noopShim"},
            "proxy_config.path '' is not the absolute path of a program; name the proxy",
        ),
        (
            {
                "shim_type": "kataShim",
                "shim_config": {"path": "/s"},
                "agent_config": {"protocol": "ttrpc"},
            },
            "agent_config.protocol ttrpc is not spoken by kataShim, which is of Kata 1.x",
        ),
        (
            {"shim_type": "kataShim"},
            "shim_config.path '' is not the absolute path of a program; name the shim",
        ),
        (
            {"agent_type": "noop", "agent_config": {"protocol": "grpc"}},
            "agent_config.protocol has no effect with the agent noop",
        ),
        (
            {"agent_type": "noop", "agent_config": {"debug": True}},
            "agent_config.debug has no effect with the agent noop",
        ),
        (
            {"proxy_type": "noProxy", "shim_type": "noopShim"},
            "proxy_type noProxy needs agent_config.socket_type vsock",
        ),
        (
            {"agent_type": "hyperstart", "agent_config": {"socket_type": "vsock"}},
            "agent_config.socket_type vsock has no effect with the agent hyperstart",
        ),
        (
            {
                "proxy_type": "kataProxy",
                "proxy_config": {"path": "/p"},
                "agent_config": {"socket_type": "hybrid-vsock"},
            },
            "proxy_type kataProxy does not go with agent_config.socket_type hybrid-vsock",
        ),
    ],
)
def test_what_would_have_no_effect_is_refused(keys, says):
    with pytest.raises(InvalidConfig, match=says):
        pod(**keys)


def test_a_console_is_refused_where_nothing_stands_for_the_process():
    cmd = Cmd(args=("sh",), console="/dev/pts/0")
    containers = (ContainerConfig(id="main", rootfs="/r", cmd=cmd),)
    assert pod(containers=containers).containers == containers
    says = r"containers\[0\].cmd.console has no effect with shim_type noopShim"
    with pytest.raises(InvalidConfig, match=says):
        pod(containers=containers, shim_type="noopShim")


def test_programs_in_a_pod_file_are_relative_to_its_folder(tmp_path):
    text = """
    id = "web"
    proxy_type = "kataProxy"
    proxy_config = { path = "bin/kata-proxy", debug = true }
    shim_type = "kataShim"
    shim_config = { path = "/usr/libexec/kata-shim" }
    """
    config = parse_pod(text, Format.TOML, source="web.toml", base_dir=tmp_path, defaults={})
    assert config.proxy_config.path == str(tmp_path / "bin/kata-proxy")
    assert config.proxy_config.debug
    assert config.shim_config.path == "/usr/libexec/kata-shim"
