"""Text of a pod file or container file → PodConfig or ContainerConfig (design: command line).

The format is TOML or JSON in the shape of the API's structures with snake_case keys.
`envs` may also be written as `["NAME=value"]`. Relative paths (rootfs, sources of bind mounts,
volumes, hooks, guest images) are relative to the file's folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import PurePath
from typing import Any, Final

import tomli

from vctui.errors import FileProblem, InvalidConfig, InvalidId
from vctui.model import checks
from vctui.model.container import ContainerConfig
from vctui.model.documents import convert
from vctui.model.pod import PodConfig

BUILTIN_ROOTFS: Final = ("busybox",)
"""Values of `rootfs` that name a root file system of ours and no path."""

_GUEST_PATHS: Final = ("kernel_path", "image_path", "initrd_path", "firmware_path")


class Format(StrEnum):
    TOML = "toml"
    JSON = "json"


def parse_pod(
    text: str, format_: Format, *, source: str, base_dir: PurePath, defaults: Mapping[str, Any]
) -> PodConfig:
    """The pod that `text` describes.

    Args:
        text: the file's text.
        format_: how it is written.
        source: the file's name, for errors.
        base_dir: absolute; what relative paths are relative to.
        defaults: values of top-level keys that the file leaves out; tables are merged.

    Raises:
        FileProblem: it cannot be parsed; with the line.
        InvalidConfig, InvalidId: with the path of the key.
    """
    return make_pod(
        _document(text, format_, source), source=source, base_dir=base_dir, defaults=defaults
    )


def make_pod(
    data: dict[str, Any], *, source: str, base_dir: PurePath, defaults: Mapping[str, Any]
) -> PodConfig:
    """The pod that plain data in the shape of a pod file describes; otherwise as `parse_pod`."""
    for key, value in defaults.items():
        mine = data.get(key, {})
        if isinstance(value, Mapping) and isinstance(mine, dict):
            data[key] = {**value, **mine}
        else:
            data.setdefault(key, value)
    hypervisor = data.get("hypervisor_config")
    if isinstance(hypervisor, dict):
        for key in _GUEST_PATHS:
            _anchor(hypervisor, key, base_dir)
        if "/" in str(hypervisor.get("hypervisor_path", "")):
            _anchor(hypervisor, "hypervisor_path", base_dir)
    for program in ("proxy_config", "shim_config"):
        if isinstance(table := data.get(program), dict):
            _anchor(table, "path", base_dir)
    hooks = data.get("hooks")
    for phase in hooks.values() if isinstance(hooks, dict) else ():
        for hook in phase if isinstance(phase, list) else ():
            if isinstance(hook, dict):
                _anchor(hook, "path", base_dir)
    network = data.get("network_config")
    if isinstance(network, dict):
        _anchor(network, "net_ns_path", base_dir)
    volumes = data.get("volumes")
    for volume in volumes if isinstance(volumes, list) else ():
        if isinstance(volume, dict):
            _anchor(volume, "host_path", base_dir)
    containers = data.get("containers")
    if isinstance(containers, list):
        for index, container in enumerate(containers):
            _prepare_container(container, f"containers[{index}].", source, base_dir)
    config = convert(data, PodConfig, source=source)
    try:
        return checks.check_pod(config, is_whole=not config.guest)
    except (InvalidConfig, InvalidId) as error:
        raise type(error)(f"{source}: {error}") from error


def parse_container(
    text: str, format_: Format, *, source: str, base_dir: PurePath
) -> ContainerConfig:
    """The container that `text` describes; arguments and errors as `parse_pod`."""
    data = _document(text, format_, source)
    _prepare_container(data, "", source, base_dir)
    config = convert(data, ContainerConfig, source=source)
    try:
        return checks.check_container(config)
    except (InvalidConfig, InvalidId) as error:
        raise type(error)(f"{source}: {error}") from error


def parse_json(text: str, *, source: str) -> dict[str, Any]:
    """Plain data of a JSON document. Raises FileProblem."""
    return _document(text, Format.JSON, source)


def _document(text: str, format_: Format, source: str) -> dict[str, Any]:
    try:
        if format_ is Format.TOML:
            return tomli.loads(text)
        data = json.loads(text, object_pairs_hook=_unique)
    except tomli.TOMLDecodeError as error:
        raise FileProblem(f"{source} is not valid TOML: {_lower(error)}; correct it") from error
    except json.JSONDecodeError as error:
        where = f"(at line {error.lineno}, column {error.colno})"
        raise FileProblem(
            f"{source} is not valid JSON: {_lower(error.msg)} {where}; correct it"
        ) from error
    except (ValueError, RecursionError) as error:
        raise FileProblem(f"{source} cannot be read: {_lower(error)}; correct it") from error
    if not isinstance(data, dict):
        raise FileProblem(f"{source} must hold one JSON object; put the keys into {{}}")
    return data


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} is given twice in one object")
    return table


def _prepare_container(data: object, where: str, source: str, base_dir: PurePath) -> None:
    """Bring what may be written in several ways into the shape of the structures; whatever has
    another type than expected is left for `convert` to refuse."""
    if not isinstance(data, dict):
        return
    if data.get("rootfs") not in BUILTIN_ROOTFS:
        _anchor(data, "rootfs", base_dir)
    cmd = data.get("cmd")
    if isinstance(cmd, dict) and isinstance(cmd.get("envs"), list):
        cmd["envs"] = [
            _env(item, f"{source}: {where}cmd.envs[{index}]")
            for index, item in enumerate(cmd["envs"])
        ]
    mounts = data.get("mounts")
    for mount in mounts if isinstance(mounts, list) else ():
        if isinstance(mount, dict) and mount.get("type", "bind") == "bind":
            _anchor(mount, "source", base_dir)
    devices = data.get("device_infos")
    for device in devices if isinstance(devices, list) else ():
        if isinstance(device, dict):
            _anchor(device, "host_path", base_dir)


def _env(item: object, where: str) -> object:
    if not isinstance(item, str):
        return item
    name, separator, value = item.partition("=")
    if not name or not separator:
        raise InvalidConfig(f'{where} must be "NAME=value" or {{var, value}}, not {item!r}')
    return {"var": name, "value": value}


def _anchor(table: dict[str, Any], key: str, base_dir: PurePath) -> None:
    if isinstance(path := table.get(key), str) and path:
        table[key] = str(base_dir / path)


def _lower(words: object) -> str:
    text = str(words)
    return text[:1].lower() + text[1:]
