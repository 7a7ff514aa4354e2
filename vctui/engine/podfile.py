"""Pod files on disk: read one, find those that an operator is offered."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

from vctui.errors import FileProblem
from vctui.model.container import ContainerConfig
from vctui.model.pod import PodConfig
from vctui.model.podfile import Format, parse_container, parse_pod
from vctui.settings import Settings

STDIN: Final = "-"
MAX_BYTES: Final = 1024 * 1024
DEMO_DIR: Final = Path(__file__).parent.parent / "demo"

_FORMATS: Final = {".toml": Format.TOML, ".json": Format.JSON}


def load_pod(path: Path, settings: Settings) -> PodConfig:
    """The pod that the file describes; `-` is the standard input.

    Raises:
        FileProblem: missing, unreadable, too large, not parsable.
        InvalidConfig, InvalidId: with the path of the key.
    """
    text, format_, source = _read(path)
    return parse_pod(
        text, format_, source=source, base_dir=_folder(path), defaults=defaults(settings)
    )


def load_container(path: Path) -> ContainerConfig:
    """The container that the file describes; otherwise as `load_pod`."""
    text, format_, source = _read(path)
    return parse_container(text, format_, source=source, base_dir=_folder(path))


def defaults(settings: Settings) -> dict[str, Any]:
    """What config.toml gives a pod whose file leaves it out.

    Not its size: 0 there means the hypervisor's default, which the engine settles for all pods.
    """
    return {
        "hypervisor_type": settings.pod.hypervisor_type,
        "agent_type": settings.pod.agent_type,
        "hypervisor_config": {"hypervisor_machine_type": settings.qemu.machine_type},
    }


def pod_files(settings: Settings) -> tuple[Path, ...]:
    """Pod files in the operator's folder, then the shipped ones, each sorted by name."""
    return (*_listed(settings.pods_dir), *_listed(DEMO_DIR))


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix in _FORMATS)
    except OSError:
        return []


def _folder(path: Path) -> Path:
    return Path.cwd() if str(path) == STDIN else path.absolute().parent


def _read(path: Path) -> tuple[str, Format, str]:
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
    guess = Format.JSON if text.lstrip().startswith("{") else Format.TOML
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
