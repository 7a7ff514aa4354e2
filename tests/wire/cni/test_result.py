"""What plugins print: any bytes give a sane result or one error of ours."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.wire.cni import result as cni
from vctui.wire.cni.words import MAX_DOCUMENT, MAX_ITEMS, clean

_KEYS = st.sampled_from(
    ["cniVersion", "interfaces", "ips", "routes", "dns", "ip4", "ip6", "ip", "address", "gateway",
     "interface", "name", "mac", "sandbox", "dst", "gw", "nameservers", "domain", "search",
     "options", "code", "msg", "details", "supportedVersions"]
)  # fmt: skip
_LEAVES = st.none() | st.integers() | st.text(max_size=8) | st.sampled_from(
    ["10.0.0.1/8", "10.0.0.1", "fd00::1/64", "0.4.0", "eth0", "02:00:00:00:00:01"]
)  # fmt: skip
_DOCUMENTS = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=5),
    max_leaves=12,
)
_NAMES = st.text("abcdefghij0123456789.-_", min_size=1, max_size=15)
_MACS = st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex(":"))
_IPS = st.ip_addresses().map(str)
_INTERFACES = st.builds(
    cni.Interface, _NAMES, st.just("") | _MACS, st.sampled_from(["", "/run/netns/web"])
)
_ADDRESSES = st.builds(
    lambda ip, prefix, gateway, number: cni.Address(f"{ip}/{prefix}", gateway, number),
    st.ip_addresses(),
    st.integers(0, 32),
    st.just("") | _IPS,
    st.none() | st.just(0),
)
_ROUTES = st.builds(
    cni.Route, st.sampled_from(["0.0.0.0/0", "10.0.0.0/8", "::/0"]), st.just("") | _IPS
)
_DNS = st.builds(
    cni.Dns,
    st.lists(_IPS, max_size=2).map(tuple),
    st.just("") | _NAMES,
    st.lists(_NAMES, max_size=2).map(tuple),
    st.lists(_NAMES, max_size=2).map(tuple),
)
_RESULTS = st.builds(
    cni.Result,
    st.lists(_INTERFACES, min_size=1, max_size=3).map(tuple),
    st.lists(_ADDRESSES, max_size=3).map(tuple),
    st.lists(_ROUTES, max_size=3).map(tuple),
    _DNS,
)


@given(_DOCUMENTS)
def test_any_document_is_read_or_refused(document: object) -> None:
    raw = json.dumps(document).encode()
    with contextlib.suppress(cni.BadAnswer):
        cni.parse_result(raw)
    with contextlib.suppress(cni.BadAnswer):
        cni.parse_versions(raw)
    if error := cni.parse_error(raw):
        assert str(error).isprintable()


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with contextlib.suppress(cni.BadAnswer):
        cni.parse_result(raw)
    cni.parse_error(raw)


@given(_RESULTS, st.sampled_from(["0.3.0", "0.3.1", "0.4.0", "1.0.0"]))
def test_a_result_comes_back_out_of_the_document_of_every_version(
    result: cni.Result, version: str
) -> None:
    raw = json.dumps(cni.result_document(result, version)).encode()
    assert cni.parse_result(raw) == result


@given(st.text(max_size=3000))
def test_other_peoples_words_become_one_printable_line(text: str) -> None:
    assert clean(text).isprintable()
    assert len(clean(text)) <= 300


def test_a_result_of_the_old_shape_is_understood() -> None:
    raw = b"""{"cniVersion": "0.2.0", "dns": {"nameservers": ["10.1.0.1"], "domain": null},
      "ip4": {"ip": "10.1.0.5/16", "gateway": "10.1.0.1", "routes": [{"dst": "0.0.0.0/0"}]},
      "ip6": {"ip": "fd00::5/64", "routes": [{"dst": "fd01::9/64", "gw": "fd00::1"}]}}"""
    assert cni.parse_result(raw) == cni.Result(
        ips=(cni.Address("10.1.0.5/16", "10.1.0.1"), cni.Address("fd00::5/64")),
        routes=(cni.Route("0.0.0.0/0"), cni.Route("fd01::/64", "fd00::1")),
        dns=cni.Dns(nameservers=("10.1.0.1",)),
    )


def _ips(count: int) -> str:
    return json.dumps({"ips": [{"address": "10.0.0.1/8"}] * count})


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("", "nothing"),
        (" \n", "nothing"),
        ("hello", "no document of CNI"),
        ("[1]", "no document of CNI"),
        ("[" * 5000, "no document of CNI"),
        ('{"cniVersion": "7"}', "version '7'"),
        ('{"interfaces": [{"name": "a b"}]}', "an interface of the name 'a b'"),
        ('{"interfaces": [{"name": "a", "mac": "1"}]}', "the hardware address '1'"),
        ('{"interfaces": [{"name": "a", "sandbox": "/a\\u001b"}]}', "the sandbox"),
        ('{"ips": [{"address": "10.0.0"}]}', "the address '10.0.0'"),
        ('{"ips": [{"address": "10.0.0.1/8", "gateway": "x"}]}', "the address 'x'"),
        ('{"ips": [{"address": "10.0.0.1/8", "interface": 0}]}', "number 0, of 0"),
        ('{"routes": [{"dst": "away"}]}', "the route 'away'"),
        ('{"dns": {"search": ["a\\nnameserver 6.6.6.6"]}}', "the word"),
        (_ips(MAX_ITEMS + 1), "more than 256 items"),
        (" " * (MAX_DOCUMENT + 1), "more than 262144 bytes"),
    ],
)
def test_rubbish_is_named(raw: str, words: str) -> None:
    with pytest.raises(cni.BadAnswer) as caught:
        cni.parse_result(raw.encode())
    assert words in str(caught.value)
    assert str(caught.value).isprintable()


def test_an_error_is_one_line_of_words() -> None:
    error = cni.parse_error(b'{"code": 7, "msg": "bad\\u001b[31m\\nconfig", "details": "line 1"}')
    assert error is not None
    assert error.code == 7
    assert str(error) == "bad [31m config; line 1"
    assert cni.parse_error(b"panic: runtime error") is None
    assert cni.parse_error(b"{}") is None


def test_versions_of_a_plugin_are_read() -> None:
    raw = b'{"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0"]}'
    assert cni.parse_versions(raw) == ("0.4.0", "1.0.0")
