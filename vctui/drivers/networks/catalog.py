"""The networks of this host: files of a folder, as CNI has them (`/etc/cni/net.d`)."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from vctui.errors import FileProblem, NotFound
from vctui.wire.cni.network import NetworkList, parse_network
from vctui.wire.cni.words import MAX_DOCUMENT

_ENDINGS: Final = (".conf", ".conflist", ".json")


@dataclass(frozen=True, slots=True)
class Listed:
    """A network and the file that it stands in."""

    file: Path
    network: NetworkList

    @property
    def is_loopback(self) -> bool:
        """Whether it is about the loopback device only; a guest has its own."""
        return set(self.network.types) == {"loopback"}


@dataclass(frozen=True, slots=True)
class Catalog:
    """The networks in the order of their files' names."""

    folder: Path
    listed: tuple[Listed, ...] = ()
    problems: tuple[FileProblem, ...] = field(default=())
    """Of the files that cannot be used."""

    def choose(self, name: str = "") -> Listed:
        """The network `name`; with "" the first one that is not the loopback device's.

        Raises:
            NotFound: there is none. The words include what is wrong with files of the folder.
        """
        for one in self.listed:
            if one.network.name == name or (not name and not one.is_loopback):
                return one
        bad = f" ({self.problems[0]})" if self.problems else ""
        if not name:
            raise NotFound(
                f"there is no network in {self.folder}{bad}; make one with `vctui network init`"
            )
        names = [one.network.name for one in self.listed]
        if close := difflib.get_close_matches(name, names, n=1):
            hint = f"did you mean {close[0]!r}?"
        else:
            hint = f"known are: {', '.join(names)}" if names else "run `vctui network init`"
        raise NotFound(f"there is no network {name!r} in {self.folder}{bad}; {hint}")


def read(folder: Path) -> Catalog:
    """What stands in the folder; a file that cannot be used is a problem and no more, and of two
    files with networks of one name the first counts.

    Raises:
        FileProblem: the folder cannot be read.
    """
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix in _ENDINGS)
    except FileNotFoundError:
        return Catalog(folder)
    except OSError as error:
        raise FileProblem(
            f"cannot read the networks in {folder}: {error.strerror}; run vctui as root, or "
            "name another folder in config.toml under network.config_dir"
        ) from error
    listed: dict[str, Listed] = {}
    problems = []
    for path in files:
        try:
            found = Listed(path, _parse(path))
        except FileProblem as problem:
            problems.append(problem)
            continue
        if found.network.name in listed:
            first = listed[found.network.name].file
            problems.append(
                FileProblem(
                    f"{path} has the network {found.network.name!r} again, which stands in "
                    f"{first} already; rename one of them"
                )
            )
        else:
            listed[found.network.name] = found
    return Catalog(folder, tuple(listed.values()), tuple(problems))


def _parse(path: Path) -> NetworkList:
    try:
        # a FIFO in the folder must not hold us up
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            raw = file.read(MAX_DOCUMENT + 1) or b""
    except OSError as error:
        raise FileProblem(
            f"cannot read the network file {path}: {error.strerror}; make it readable, or remove it"
        ) from error
    return parse_network(raw, source=str(path))
