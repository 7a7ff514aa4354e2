"""Guests of the operator's own: which there are."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from vctui.engine import paths
from vctui.engine.context import Context
from vctui.errors import AlreadyExists, FileProblem, NotFound
from vctui.linux import files
from vctui.linux.problems import host_problem
from vctui.model import ids
from vctui.model.guest import Guest, applied
from vctui.model.pod import PodConfig

_SUFFIX: Final = ".json"


def added(ctx: Context) -> tuple[Guest, ...]:
    """Sorted by name. Raises FileProblem."""
    found = sorted(paths.guests_root(ctx.settings).glob(f"[!.]*{_SUFFIX}"))
    return tuple(_read(file) for file in found)


def get(ctx: Context, name: str) -> Guest:
    """Raises NotFound, FileProblem."""
    file = _file(ctx, name)
    if not file.is_file():
        raise NotFound(
            f"there is no guest {name!r}; see `vctui guest list --added`, or add it with "
            "`vctui guest add`"
        )
    return _read(file)


def add(ctx: Context, guest: Guest, *, replace: bool) -> Guest:
    """Remember a guest whose files are there.

    Raises:
        AlreadyExists: there is one of that name, and it is not to be replaced.
        FileProblem: one of its files is not there.
        InvalidId, InvalidConfig: pods could not use it.
    """
    from vctui.model.checks import check_pod

    ids.check("guest", guest.name)
    for path in (guest.kernel_path, guest.initrd_path, guest.image_path):
        if path and not Path(path).is_file():
            raise FileProblem(f"{path} is no file; name the guest's kernel and image as they are")
    check_pod(applied(PodConfig(id=guest.name), guest))
    folder, file = paths.guests_root(ctx.settings), _file(ctx, guest.name)
    if file.exists() and not replace:
        raise AlreadyExists(
            f"guest {guest.name!r} already exists; remove it first, or replace it with --force"
        )
    try:
        files.private_dir(folder)
        files.write_atomic(file, msgspec.json.format(msgspec.json.encode(guest), indent=2) + b"\n")
    except OSError as error:
        raise host_problem(error, f"remember guest {guest.name!r} in {folder}") from error
    return guest


def remove(ctx: Context, name: str) -> Guest:
    """Forget a guest; its files stay, and pods that were made with it are as before.

    Raises:
        NotFound
    """
    found = get(ctx, name)
    _file(ctx, name).unlink(missing_ok=True)
    return found


def settled(ctx: Context, config: PodConfig) -> PodConfig:
    """The pod with what its guest says. Raises NotFound, InvalidConfig, FileProblem."""
    return applied(config, get(ctx, config.guest)) if config.guest else config


def _file(ctx: Context, name: str) -> Path:
    return paths.guests_root(ctx.settings) / f"{ids.check('guest', name)}{_SUFFIX}"


def _read(file: Path) -> Guest:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Guest)
    except (OSError, msgspec.DecodeError) as error:
        raise FileProblem(
            f"{file} does not say what the guest is: {error}; remove the file and add it again"
        ) from error
