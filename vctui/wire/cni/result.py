"""What plugins print: results, errors, versions (CNI 0.1.0 to 1.0.0). Pure.

Plugins are other people's programs: what they print is bounded, checked and free of control
characters before anybody else sees it.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Final, TypeVar

import msgspec

from vctui.wire.cni.words import MAX_DOCUMENT, MAX_ITEMS, VERSIONS, clean, is_before, shown

INTERFACE: Final = re.compile(r"[^\s/:\x00-\x20\x7f]{1,15}\Z")
_MAC: Final = re.compile(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}(?:(?::[0-9A-Fa-f]{2}){14})?\Z")
_WORD: Final = re.compile(r"[\x21-\x7e]{1,255}\Z")

T = TypeVar("T")


class BadAnswer(ValueError):
    """A plugin printed what the specification does not allow; says what, without a remedy."""


class Interface(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    mac: str = ""
    sandbox: str = ""
    """Path of the namespace it is in; "" for the host's own."""


class Address(msgspec.Struct, frozen=True, omit_defaults=True):
    address: str
    """With its prefix length: 10.88.0.5/16."""
    gateway: str = ""
    interface: int | None = None
    """Which of the result's interfaces has it."""


class Route(msgspec.Struct, frozen=True, omit_defaults=True):
    dst: str
    gw: str = ""


class Dns(msgspec.Struct, frozen=True, omit_defaults=True):
    nameservers: tuple[str, ...] = ()
    domain: str = ""
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """What ADD has made, in one shape for every version of the specification."""

    interfaces: tuple[Interface, ...] = ()
    ips: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    dns: Dns = Dns()


class PluginError(msgspec.Struct, frozen=True):
    """Why a plugin refused."""

    code: int = 0
    """0 to 99 are the specification's."""
    msg: str = ""
    details: str = ""

    def __str__(self) -> str:
        return clean(f"{self.msg}; {self.details}" if self.details else self.msg)


def result_document(result: Result, version: str) -> dict[str, Any]:
    """A result as plain data in the shape of `version`, which is 0.3.0 or later."""
    document: dict[str, Any] = msgspec.to_builtins(result)
    if is_before(version, "1.0.0"):
        for each in document.get("ips", ()):
            each["version"] = str(ipaddress.ip_interface(each["address"]).version)
    return {"cniVersion": version, **document}


class _OldRoute(msgspec.Struct):
    dst: str
    gw: str | None = None


class _OldIp(msgspec.Struct):
    ip: str
    gateway: str | None = None
    routes: list[_OldRoute] | None = None


class _Dns(msgspec.Struct):
    nameservers: list[str] | None = None
    domain: str | None = None
    search: list[str] | None = None
    options: list[str] | None = None


class _Interface(msgspec.Struct):
    name: str
    mac: str | None = None
    sandbox: str | None = None


class _Ip(msgspec.Struct):
    address: str
    gateway: str | None = None
    interface: int | None = None


class _Answer(msgspec.Struct, rename={"cni_version": "cniVersion"}):
    """Every version's keys; absent and null mean the same, as Go's plugins write them."""

    cni_version: str = ""
    interfaces: list[_Interface] | None = None
    ips: list[_Ip] | None = None
    routes: list[_OldRoute] | None = None
    dns: _Dns | None = None
    ip4: _OldIp | None = None
    ip6: _OldIp | None = None


def parse_result(raw: bytes) -> Result:
    """What ADD printed, of any version.

    Raises:
        BadAnswer
    """
    answer = _decoded(raw, _Answer)
    if answer.cni_version and answer.cni_version not in VERSIONS:
        raise BadAnswer(f"a result of version {shown(answer.cni_version)}, which is not known")
    ips = list(answer.ips or ())
    routes = list(answer.routes or ())
    for old in (answer.ip4, answer.ip6):
        if old is not None:
            ips.append(_Ip(old.ip, old.gateway))
            routes.extend(old.routes or ())
    found = answer.interfaces or []
    dns = answer.dns or _Dns()
    servers, search, options = (
        dns.nameservers or [],
        dns.search or [],
        dns.options or [],
    )
    for what in (found, ips, routes, servers, search, options):
        if len(what) > MAX_ITEMS:
            raise BadAnswer(f"more than {MAX_ITEMS} items in one list")
    return Result(
        interfaces=tuple(_interface(one) for one in found),
        ips=tuple(_address(one, len(found)) for one in ips),
        routes=tuple(Route(_network(one.dst), _ip(one.gw)) for one in routes),
        dns=Dns(
            nameservers=tuple(_ip(one) for one in servers),
            domain=_word(dns.domain) if dns.domain else "",
            search=tuple(_word(one) for one in search),
            options=tuple(_word(one) for one in options),
        ),
    )


def parse_error(raw: bytes) -> PluginError | None:
    """What a plugin that failed printed; None where that is no error document."""
    try:
        error = _decoded(raw, PluginError)
    except BadAnswer:
        return None
    if not error.msg and not error.details:
        return None
    return PluginError(error.code, clean(error.msg), clean(error.details))


class _Versions(msgspec.Struct, rename={"supported": "supportedVersions"}):
    supported: list[str]


def parse_versions(raw: bytes) -> tuple[str, ...]:
    """Versions that a plugin says it knows (answer to VERSION). Raises BadAnswer."""
    return tuple(_word(one) for one in _decoded(raw, _Versions).supported[:MAX_ITEMS])


def _decoded(raw: bytes, kind: type[T]) -> T:
    if len(raw) > MAX_DOCUMENT:
        raise BadAnswer(f"more than {MAX_DOCUMENT} bytes")
    if not raw.strip():
        raise BadAnswer("nothing")
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadAnswer(f"no document of CNI ({clean(str(error))})") from error


def _interface(found: _Interface) -> Interface:
    if not INTERFACE.match(found.name):
        raise BadAnswer(f"an interface of the name {shown(found.name)}")
    mac, sandbox = found.mac or "", found.sandbox or ""
    if mac and not _MAC.match(mac):
        raise BadAnswer(f"the hardware address {shown(mac)}")
    if len(sandbox) > 4096 or not sandbox.isprintable():
        raise BadAnswer(f"the sandbox {shown(sandbox)}")
    return Interface(found.name, mac.lower(), sandbox)


def _address(found: _Ip, interfaces: int) -> Address:
    try:
        address = str(ipaddress.ip_interface(found.address))
    except ValueError:
        raise BadAnswer(f"the address {shown(found.address)}") from None
    index = found.interface
    if index is not None and not 0 <= index < interfaces:
        raise BadAnswer(f"an address of interface number {index}, of {interfaces}")
    return Address(address, _ip(found.gateway), index)


def _ip(text: str | None) -> str:
    """A plain address; "" stays so."""
    if not text:
        return ""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise BadAnswer(f"the address {shown(text)}") from None


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise BadAnswer(f"the route {shown(text)}") from None


def _word(text: str) -> str:
    if not _WORD.match(text):
        raise BadAnswer(f"the word {shown(text)}")
    return text
