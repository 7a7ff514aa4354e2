"""Images in the local store: their names, and what their configuration gives a container. Pure."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

import msgspec

from vctui.errors import InvalidConfig
from vctui.model.container import Cmd, EnvVar

_PART: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST: Final = r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?"
_NAME: Final = re.compile(
    rf"(?=.{{1,255}}\Z)(?P<path>(?:{_HOST}/)?{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?\Z"
)
_USUAL_HOSTS: Final = ("docker.io/library/", "docker.io/")
"""Names are kept without what everybody leaves out."""


class ImageDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """What an image says about the process that a container of it runs."""

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    envs: tuple[EnvVar, ...] = ()
    work_dir: str = ""
    user: str = ""
    stop_signal: str = ""
    """What asks its process to stop; "" means SIGTERM."""


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """An image in the local store."""

    name: str
    """NAME:TAG."""
    digest: str
    """Of its configuration: `sha256:…`, what other programs call the image's id."""
    rootfs: str
    """Folder name of its unpacked layers; images with the same layers share it."""
    size: int
    """Bytes of its unpacked files."""
    imported: datetime
    defaults: ImageDefaults = ImageDefaults()


def image_name(text: str, *, where: str = "the image's name") -> str:
    """`text` as NAME:TAG, with `latest` where it has no tag.

    Raises:
        InvalidConfig: it cannot be an image's name.
    """
    for host in _USUAL_HOSTS:
        text = text.removeprefix(host)
    found = _NAME.match(text)
    if found is None:
        raise InvalidConfig(
            f"{where} {text!r} is no image name; use NAME:TAG, the name in lower-case letters, "
            "digits, '.', '_', '-' and '/'"
        )
    return f"{found['path']}:{found['tag'] or 'latest'}"


def with_defaults(
    cmd: Cmd, defaults: ImageDefaults, entrypoint: tuple[str, ...] | None = None
) -> Cmd:
    """`cmd`, and from the image what it leaves out.

    A given entry point takes the place of the image's entry point and command.
    Given arguments take the place of the image's own and follow its entry point;
    given variables win over the image's of the same name.
    """
    if entrypoint is not None:
        args = (*entrypoint, *cmd.args)
    else:
        args = (*defaults.entrypoint, *(cmd.args or defaults.cmd))
    given = {each.var for each in cmd.envs}
    inherited = {each.var: each for each in defaults.envs if each.var not in given}
    return msgspec.structs.replace(
        cmd,
        args=args,
        envs=(*inherited.values(), *cmd.envs),
        work_dir=cmd.work_dir or defaults.work_dir,
        user=cmd.user or defaults.user,
    )
