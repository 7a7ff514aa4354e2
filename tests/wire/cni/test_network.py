"""Network configurations and requests: .conf and .conflist of every version."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.errors import FileProblem
from vctui.wire.cni import network as cni
from vctui.wire.cni.result import Address, Interface, Result, Route
from vctui.wire.cni.words import MAX_DOCUMENT, VERSIONS

_KEYS = st.sampled_from(
    ["name", "type", "cniVersion", "plugins", "disableCheck", "capabilities", "ipam"]
)
_LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(
    ["0.4.0", "1.0.0", "bridge"]
)  # fmt: skip
_DOCUMENTS = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=5),
    max_leaves=12,
)
RESULT = Result(
    interfaces=(Interface("cni0"), Interface("eth0", "02:00:00:00:00:01", "/run/netns/a")),
    ips=(Address("10.88.0.2/16", "10.88.0.1", 1), Address("fd00::2/64", "", 1)),
    routes=(Route("0.0.0.0/0", "10.88.0.1"),),
)


def conflist(version: str = "1.0.0", **more: Any) -> cni.NetworkList:
    document = {
        "cniVersion": version,
        "name": "dbnet",
        "plugins": [
            {"type": "bridge", "name": "wrong", "ipam": {"type": "host-local"}},
            {"type": "portmap", "capabilities": {"portMappings": True, "bandwidth": False}},
        ],
        **more,
    }
    return cni.parse_network(json.dumps(document).encode(), source="10-db.conflist")


@given(_DOCUMENTS)
def test_any_document_is_read_or_refused(document: object) -> None:
    with contextlib.suppress(FileProblem):
        network = cni.parse_network(json.dumps(document).encode(), source="a.conf")
        assert network.name
        assert network.types
        assert network.cni_version in VERSIONS
        for index in range(len(network.plugins)):
            assert json.loads(cni.request(network, index))["name"] == network.name


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with contextlib.suppress(FileProblem):
        cni.parse_network(raw, source="a.conf")


def test_a_conf_is_a_list_of_one_plugin() -> None:
    raw = b'{"cniVersion": "0.3.1", "name": "lo", "type": "loopback"}'
    network = cni.parse_network(raw, source="99-lo.conf")
    assert (network.name, network.types, network.cni_version) == ("lo", ("loopback",), "0.3.1")
    assert json.loads(cni.request(network, 0)) == {
        "cniVersion": "0.3.1",
        "name": "lo",
        "type": "loopback",
    }


def test_a_configuration_without_a_version_is_of_the_first() -> None:
    network = cni.parse_network(b'{"name": "a", "type": "b"}', source="a.conf")
    assert network.cni_version == "0.1.0"
    assert not network.checks
    assert "prevResult" not in json.loads(cni.request(network, 0, previous=RESULT))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"[]", "must hold one JSON object"),
        (b"{", "is not valid JSON"),
        (b"[" * 5000, "is not valid JSON"),
        (b'{"name": "a\\nb", "type": "x"}', "name must be letters"),
        (b'{"type": "x"}', "not nothing"),
        (b'{"name": "a"}', "type must be the file name of a plugin, not nothing"),
        (b'{"name": "a", "type": "../../bin/sh"}', "type must be the file name"),
        (b'{"name": "a", "type": "x", "cniVersion": "9.0"}', "cniVersion must be one of 0.1.0"),
        (b'{"name": "a", "plugins": []}', "plugins must be a list of 1 to"),
        (b'{"name": "a", "plugins": {}}', "plugins must be a list of 1 to"),
        (b'{"name": "a", "plugins": [1]}', "plugins[0] must be an object"),
        (b'{"name": "a", "plugins": [{"type": "x", "ipam": 1}]}', "plugins[0].ipam must be"),
        (b'{"name": "a", "type": "x", "disableCheck": 7}', "disableCheck must be true or false"),
        (b" " * (MAX_DOCUMENT + 1), "is longer than"),
    ],
)
def test_what_is_wrong_is_named_with_its_key(raw: bytes, words: str) -> None:
    with pytest.raises(FileProblem) as caught:
        cni.parse_network(raw, source="x.conf")
    assert words in str(caught.value)
    assert str(caught.value).startswith("x.conf")
    assert str(caught.value).isprintable()


def test_name_and_version_of_the_list_hold_for_each_plugin() -> None:
    first = json.loads(cni.request(conflist("0.4.0"), 0))
    assert first["name"] == "dbnet"
    assert first["cniVersion"] == "0.4.0"
    assert "prevResult" not in first


def test_a_plugin_gets_the_capabilities_that_it_can_take() -> None:
    ports = [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]
    given_ = {"portMappings": ports, "bandwidth": {"ingressRate": 1}}
    assert "runtimeConfig" not in json.loads(cni.request(conflist(), 0, capabilities=given_))
    second = json.loads(cni.request(conflist(), 1, capabilities=given_))
    assert second["runtimeConfig"] == {"portMappings": ports}
    assert "capabilities" not in second


@pytest.mark.parametrize("version", ["0.3.0", "0.3.1", "0.4.0", "1.0.0"])
def test_the_result_before_is_passed_on_in_the_version_of_the_list(version: str) -> None:
    document = json.loads(cni.request(conflist(version), 1, previous=RESULT))
    passed = document["prevResult"]
    assert passed["cniVersion"] == version
    assert [one.get("version") for one in passed["ips"]] == (
        [None, None] if version == "1.0.0" else ["4", "6"]
    )
    assert passed["interfaces"][1]["sandbox"] == "/run/netns/a"
    assert passed["routes"] == [{"dst": "0.0.0.0/0", "gw": "10.88.0.1"}]


def test_a_stale_result_in_the_file_is_not_passed_on() -> None:
    raw = b'{"cniVersion": "1.0.0", "name": "a", "type": "x", "prevResult": {}}'
    network = cni.parse_network(raw, source="a.conf")
    assert "prevResult" not in json.loads(cni.request(network, 0))


@pytest.mark.parametrize(
    ("version", "more", "checks"),
    [
        ("0.3.1", {}, False),
        ("0.4.0", {}, True),
        ("1.0.0", {"disableCheck": True}, False),
        ("1.0.0", {"disableCheck": "true"}, False),
        ("1.0.0", {"disableCheck": "false"}, True),
    ],
)
def test_check_is_called_where_the_list_allows_it(version, more, checks) -> None:
    assert conflist(version, **more).checks is checks


def test_plugins_that_are_called_by_plugins_are_known() -> None:
    assert conflist().ipam_types == ("host-local",)


def test_the_environment_says_what_is_to_be_done_where() -> None:
    variables = cni.environment(
        cni.Command.ADD,
        container_id="web",
        netns="/run/netns/a",
        ifname="eth0",
        path="/a:/b",
        args={"IgnoreUnknown": "1", "IP": "10.1.1.1"},
    )
    assert variables == {
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": "web",
        "CNI_NETNS": "/run/netns/a",
        "CNI_IFNAME": "eth0",
        "CNI_ARGS": "IgnoreUnknown=1;IP=10.1.1.1",
        "CNI_PATH": "/a:/b",
    }


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "a:b", "x" * 16, "a\n"])
def test_what_is_no_name_of_an_interface_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no name of an interface"):
        cni.environment(cni.Command.DEL, container_id="a", netns="", ifname=name, path="/")
