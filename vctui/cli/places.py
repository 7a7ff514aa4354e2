"""The two sides of `vctui container cp`: a file of a container, and one of the host."""

from __future__ import annotations

import os
import re
import stat
import sys
from pathlib import Path
from typing import Final, NamedTuple

import click

STREAM: Final = "-"
_INSIDE: Final = re.compile(r"([^:/]+):([^:/]+):(.*)", re.DOTALL)


class Inside(NamedTuple):
    """A file of a container; the ids are as they were typed."""

    pod_id: str
    container_id: str
    path: str


def parse(text: str) -> Inside | str:
    """`POD:CONTAINER:/path` → Inside; anything else is a file of the host, or `-`.

    Raises:
        ValueError: the path in the container is not absolute.
    """
    found = _INSIDE.fullmatch(text)
    if found is None:
        return text
    inside = Inside(*found.groups())
    if not inside.path.startswith("/"):
        raise ValueError(
            f"{text!r} names no absolute path in the container; "
            f"write POD:CONTAINER:/path, or ./{text} for a file of the host"
        )
    return inside


class Place(click.ParamType["Inside | str"]):
    name = "place"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Inside | str:
        try:
            return value if isinstance(value, Inside) else parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def read(name: str, limit: int) -> bytes:
    """A file of the host, or standard input; one byte more than `limit` where it is longer.

    Raises FileProblem.
    """
    from vctui.errors import FileProblem

    try:
        if name == STREAM:
            return sys.stdin.buffer.read(limit + 1)
        with Path(name).open("rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise FileProblem(f"cannot read {name}: {error.strerror}; name a file") from error


def write(name: str, data: bytes, source: str) -> Path:
    """Make or replace a file of the host, whole or not at all; in a folder it is called as the
    file at `source`. Gives its path.

    Raises FileProblem, HostProblem.
    """
    from vctui.errors import FileProblem
    from vctui.linux.files import write_atomic
    from vctui.linux.problems import host_problem

    path = Path(name)
    if path.is_dir():
        path /= Path(source).name
    mode = 0o666
    try:
        target = Path(os.path.realpath(path))  # a link stays one
        if target.exists():
            found = target.stat().st_mode
            if not stat.S_ISREG(found):
                raise FileProblem(f"{path} is no file; name another, or - for standard output")
            mode = stat.S_IMODE(found)
        write_atomic(target, data, mode=mode)
    except OSError as error:
        remedy = "name a file that can be written"
        raise host_problem(error, f"write {path}", remedy=remedy) from error
    return path


def name_inside(path: str, source: str) -> str:
    """A path that ends in a slash names a folder, in which the file is called as the host's."""
    return path + Path(source).name if path.endswith("/") else path
