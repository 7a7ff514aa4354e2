"""Pod files on disk: read one, find those that an operator is offered."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from vctui.errors import FileProblem, InvalidConfig
from vctui.model.container import ContainerConfig
from vctui.model.pod import PodConfig
from vctui.model.podfile import Format, make_pod, parse_container, parse_json, parse_pod
from vctui.settings import Settings

log = logging.getLogger(__name__)

Warn = Callable[[str], None]
"""Told one sentence without its full stop."""

STDIN: Final = "-"
MAX_BYTES: Final = 1024 * 1024
DEMO_DIR: Final = Path(__file__).parent.parent / "demo"

_FORMATS: Final = {".toml": Format.TOML, ".json": Format.JSON, ".yaml": None, ".yml": None}
"""None is YAML, the format of Kubernetes manifests."""
_LIKE_YAML: Final = re.compile(r"\A---|^(?:apiVersion|kind):", re.MULTILINE)


def load_pod(path: Path, settings: Settings, *, warn: Warn = log.warning) -> PodConfig:
    """The pod that a pod file or a Kubernetes manifest describes; `-` is the standard input.

    Args:
        warn: told of each thing in a manifest that has no effect.

    Raises:
        FileProblem: missing, unreadable, too large, not parsable.
        InvalidConfig, InvalidId: with the path of the key.
    """
    text, format_, source = _read(path)
    manifest = _manifest(text, format_, source)
    if manifest is not None:
        return _of_manifest(manifest, source, _folder(path), settings, warn)
    return parse_pod(
        text,
        format_ or Format.TOML,
        source=source,
        base_dir=_folder(path),
        defaults=defaults(settings),
    )


def load_bundle(
    folder: Path, settings: Settings, *, pod_id: str = "", warn: Warn = log.warning
) -> PodConfig:
    """A pod of one container, from an OCI bundle: a folder with config.json.

    Args:
        pod_id: of the pod and its container; "" for the folder's name.
        warn: told of each thing in the bundle that has no effect.

    Raises:
        FileProblem, InvalidConfig, InvalidId: as `load_pod`.
    """
    from vctui.wire import oci

    bundle = folder.absolute()
    file = bundle / "config.json"
    raw = _bytes(file)
    if len(raw) > MAX_BYTES:
        raise FileProblem(f"{file} is larger than 1 MiB; name an OCI bundle")
    try:
        data, warnings = oci.pod_of_bundle(
            raw,
            bundle=str(bundle),
            pod_id=pod_id or bundle.resolve().name,
            base_memory=settings.pod.memory,
        )
    except (FileProblem, InvalidConfig) as error:
        raise type(error)(f"{file}: {error}") from error
    config = make_pod(data, source=str(file), base_dir=bundle, defaults=defaults(settings))
    for warning in warnings:
        warn(f"{file}: {warning}")
    return config


def load_container(path: Path) -> ContainerConfig:
    """The container that the file describes; otherwise as `load_pod`."""
    text, format_, source = _read(path)
    if format_ is None:
        raise FileProblem(f"{source} is YAML; write a container file as TOML or JSON")
    return parse_container(text, format_, source=source, base_dir=_folder(path))


def defaults(settings: Settings) -> dict[str, Any]:
    """What config.toml gives a pod whose file leaves it out.

    Not its size: 0 there means the hypervisor's default, which the engine settles for all pods.
    """
    return {
        "hypervisor_type": settings.pod.hypervisor_type,
        "agent_type": settings.pod.agent_type,
        "network_model": settings.pod.network_model,
        "hypervisor_config": {
            "hypervisor_machine_type": settings.qemu.machine_type,
            "shared_fs": settings.qemu.shared_fs,
        },
    }


def pod_files(settings: Settings) -> tuple[Path, ...]:
    """Pod files in the operator's folder, then the shipped ones, each sorted by name."""
    return (*_listed(settings.pods_dir), *_listed(DEMO_DIR))


def _manifest(text: str, format_: Format | None, source: str) -> dict[str, Any] | None:
    """A Kubernetes manifest; None for a pod file."""
    if format_ is Format.TOML or (format_ is Format.JSON and '"apiVersion"' not in text):
        return None
    from vctui.wire import kubernetes, yamltext

    if format_ is None:
        data = yamltext.parse_yaml(text, source=source)
        if not kubernetes.is_manifest(data):
            raise FileProblem(
                f"{source} is YAML without apiVersion and kind; write a Kubernetes manifest, or a "
                "pod file as TOML or JSON"
            )
        return data
    data = parse_json(text, source=source)
    return data if kubernetes.is_manifest(data) else None


def _of_manifest(
    manifest: dict[str, Any], source: str, folder: Path, settings: Settings, warn: Warn
) -> PodConfig:
    from vctui.wire import kubernetes

    try:
        data, warnings = kubernetes.pod_of_manifest(manifest, base_memory=settings.pod.memory)
    except InvalidConfig as error:
        raise InvalidConfig(f"{source}: {error}") from error
    config = make_pod(data, source=source, base_dir=folder, defaults=defaults(settings))
    for warning in warnings:
        warn(f"{source}: {warning}")
    return config


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix in _FORMATS)
    except OSError:
        return []


def _folder(path: Path) -> Path:
    return Path.cwd() if str(path) == STDIN else path.absolute().parent


def _read(path: Path) -> tuple[str, Format | None, str]:
    if str(path) == STDIN:
        raw, source = sys.stdin.buffer.read(MAX_BYTES + 1), "the standard input"
    else:
        raw, source = _bytes(path), str(path)
    if len(raw) > MAX_BYTES:
        raise FileProblem(f"{source} is larger than 1 MiB; name a pod file")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileProblem(
            f"{source} is not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from error
    guess = None if _LIKE_YAML.search(text) else Format.TOML
    if text.lstrip().startswith("{"):
        guess = Format.JSON
    return text.replace("\r\n", "\n"), _FORMATS.get(path.suffix, guess), source


def _bytes(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise FileProblem(f"{path} is not a file; name a pod file")
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise FileProblem(
            f"cannot read {path}: {error.strerror or error}; name a readable file"
        ) from error
