"""Configurations of networks, and what plugins are called with (CNI 0.1.0 to 1.0.0). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from vctui.errors import FileProblem
from vctui.wire.cni.result import INTERFACE, Result, result_document
from vctui.wire.cni.words import MAX_DOCUMENT, MAX_ITEMS, VERSIONS, clean, is_before, shown

_OLDEST: Final = "0.1.0"
"""What a configuration means that does not say (libcni)."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,127}\Z")
_PLUGIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+\-]{0,127}\Z")


class Command(StrEnum):
    """CNI_COMMAND."""

    ADD = "ADD"
    CHECK = "CHECK"
    DEL = "DEL"
    VERSION = "VERSION"


class NetworkList(msgspec.Struct, frozen=True, kw_only=True):
    """A network: the plugins that make it, in the order of their ADD."""

    name: str
    cni_version: str
    plugins: tuple[dict[str, Any], ...]
    """Each one's object as the file has it."""
    disable_check: bool = False

    @property
    def types(self) -> tuple[str, ...]:
        """File names of the plugins."""
        return tuple(plugin["type"] for plugin in self.plugins)

    @property
    def checks(self) -> bool:
        """Whether CHECK may be called."""
        return not self.disable_check and not is_before(self.cni_version, "0.4.0")

    @property
    def ipam_types(self) -> tuple[str, ...]:
        """File names of the plugins that the plugins call for addresses."""
        found = (plugin.get("ipam") for plugin in self.plugins)
        types = (ipam.get("type") for ipam in found if isinstance(ipam, dict))
        return tuple(one for one in types if isinstance(one, str) and _PLUGIN.match(one))


def parse_network(raw: bytes, *, source: str) -> NetworkList:
    """The network of a .conflist, or of a .conf, which has one plugin.

    Raises:
        FileProblem: naming the key.
    """
    if len(raw) > MAX_DOCUMENT:
        raise FileProblem(f"{source} is longer than {MAX_DOCUMENT} bytes; make it shorter")
    try:
        data = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FileProblem(f"{source} is not valid JSON: {clean(str(error))}; correct it") from error
    if not isinstance(data, dict):
        raise FileProblem(f"{source} must hold one JSON object; put the keys into {{}}")
    name = data.get("name")
    if not isinstance(name, str) or not is_name(name):
        raise FileProblem(
            f"{source}: name must be letters, digits, '_', '.' and '-', beginning with a letter "
            f"or digit, not {shown(name)}"
        )
    version = data.get("cniVersion", "") or _OLDEST
    if version not in VERSIONS:
        raise FileProblem(
            f"{source}: cniVersion must be one of {', '.join(VERSIONS)}, not {shown(version)}"
        )
    disabled = data.get("disableCheck", False)
    if disabled not in (True, False, "true", "false"):
        raise FileProblem(f"{source}: disableCheck must be true or false, not {shown(disabled)}")
    return NetworkList(
        name=name,
        cni_version=version,
        plugins=_plugins(data, source),
        disable_check=disabled in (True, "true"),
    )


def _plugins(data: dict[str, Any], source: str) -> tuple[dict[str, Any], ...]:
    listed = data.get("plugins", [data])
    if not isinstance(listed, list) or not 0 < len(listed) <= MAX_ITEMS:
        raise FileProblem(f"{source}: plugins must be a list of 1 to {MAX_ITEMS} objects")
    for index, plugin in enumerate(listed):
        where = f"plugins[{index}]." if "plugins" in data else ""
        if not isinstance(plugin, dict):
            raise FileProblem(f"{source}: plugins[{index}] must be an object")
        if not isinstance(kind := plugin.get("type"), str) or not _PLUGIN.match(kind):
            raise FileProblem(
                f"{source}: {where}type must be the file name of a plugin, not {shown(kind)}"
            )
        for key in ("capabilities", "ipam", "runtimeConfig"):
            if not isinstance(plugin.get(key, {}), dict):
                raise FileProblem(f"{source}: {where}{key} must be an object")
    return tuple(listed)


def environment(
    command: Command,
    *,
    container_id: str,
    netns: str,
    ifname: str,
    path: str,
    args: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The variables that every plugin of a list is called with.

    Args:
        netns: path of the namespace; "" where it is gone, which only DEL allows.
        path: folders of plugins, separated by colons.

    Raises:
        ValueError: `ifname` is no name of an interface.
    """
    if not is_interface(ifname):
        raise ValueError(f"{ifname!r} is no name of an interface")
    return {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": container_id,
        "CNI_NETNS": netns,
        "CNI_IFNAME": ifname,
        "CNI_ARGS": ";".join(f"{key}={value}" for key, value in (args or {}).items()),
        "CNI_PATH": path,
    }


def is_name(name: str) -> bool:
    """Whether a network can be called so."""
    return bool(_NAME.match(name))


def is_interface(name: str) -> bool:
    """Whether a link can be called so."""
    return bool(INTERFACE.match(name)) and name not in {".", ".."}


def request(
    network: NetworkList,
    index: int,
    *,
    previous: Result | None = None,
    capabilities: Mapping[str, Any] | None = None,
) -> bytes:
    """What plugin number `index` reads.

    Args:
        previous: of the plugin before it (ADD), or of the whole last ADD (CHECK, DEL).
        capabilities: values by the name of their capability; a plugin gets those that its
            object says it can take.
    """
    mine = dict(network.plugins[index])
    offered = mine.pop("capabilities", {})
    runtime = {
        name: value for name, value in (capabilities or {}).items() if offered.get(name) is True
    }
    if runtime:
        mine["runtimeConfig"] = {**mine.get("runtimeConfig", {}), **runtime}
    mine["name"] = network.name
    mine["cniVersion"] = network.cni_version
    mine.pop("prevResult", None)
    if previous is not None and not is_before(network.cni_version, "0.3.0"):
        mine["prevResult"] = result_document(previous, network.cni_version)
    return msgspec.json.encode(mine)


def knows_previous_on_delete(network: NetworkList) -> bool:
    """Whether DEL is told what ADD has made (from 0.4.0 on)."""
    return not is_before(network.cni_version, "0.4.0")
