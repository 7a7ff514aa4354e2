"""Kernel modules: what each one needs, in the order in which they must be inserted.

Packages ship no `modules.dep`, so it is made here from what stands in the modules themselves
(section `.modinfo`), together with `modules.alias` for those that the kernel asks for by alias.
"""

from __future__ import annotations

import dataclasses
import gzip
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from vctui.image import elf

_SIGNATURE_END: Final = b"~Module signature appended~\n"
_SIGNATURE_INFO: Final = 12
"""Bytes of `struct module_signature`, the last four of them the signature's length."""

_ALIASES: Final = {
    "crc32c": "crc32c_generic",
    "crypto_crc32c": "crc32c_generic",
    "crct10dif": "crct10dif_generic",
    "crc64": "crc64_rocksoft_generic",
}
"""What a `softdep` may name instead of a module: of the algorithm's modules the one that works on
every processor."""


@dataclass(frozen=True, slots=True)
class Module:
    name: str
    path: str
    """Below `/lib/modules/<release>/`, decompressed: `kernel/fs/9p/9p.ko`."""
    data: bytes
    depends: tuple[str, ...]
    aliases: tuple[str, ...]


def module_name(path: str) -> str:
    """A module's name from its path: `kernel/fs/9p/9p.ko.xz` is `9p`; `-` counts as `_`."""
    return PurePosixPath(path).name.partition(".")[0].replace("-", "_")


def parse(path: str, data: bytes) -> Module:
    """Read a decompressed module.

    Raises:
        ValueError: this is no kernel module.
    """
    data = without_signature(data)
    depends: list[str] = []
    aliases: list[str] = []
    for entry in elf.sections(data).get(".modinfo", b"").split(b"\0"):
        key, _, value = entry.decode("utf-8", "replace").partition("=")
        if key == "depends":
            depends += [name.replace("-", "_") for name in value.split(",") if name]
        elif key == "softdep" and value.startswith("pre:"):
            named = (name.replace("-", "_") for name in _before(value))
            depends += [_ALIASES.get(name, name) for name in named]
        elif key == "alias":
            aliases.append(value)
    return Module(module_name(path), path, data, tuple(depends), tuple(aliases))


def without_signature(data: bytes) -> bytes:
    """The module without its signature, whose check takes long on an emulated CPU."""
    if not data.endswith(_SIGNATURE_END):
        return data
    end = len(data) - len(_SIGNATURE_END)
    length = int.from_bytes(data[end - 4 : end], "big")
    start = end - _SIGNATURE_INFO - length
    return data[:start] if start > 0 else data


def packed(module: Module) -> Module:
    """The module as a smaller file, which the guest's `modprobe` unpacks."""
    data = gzip.compress(module.data, mtime=0)
    return dataclasses.replace(module, path=f"{module.path}.gz", data=data)


def in_order(wanted: Iterable[str], known: Mapping[str, Module | None]) -> tuple[Module, ...]:
    """The wanted modules and all that they need, each after what it needs.

    Args:
        known: each of them by name; None for what is built into the kernel.
    """
    visited: set[str] = set()
    ordered: list[Module] = []

    def visit(name: str) -> None:
        module = known[name]
        if module is None or name in visited:
            return
        visited.add(name)
        for needed in module.depends:
            visit(needed)
        ordered.append(module)

    for name in wanted:
        visit(name)
    return tuple(ordered)


def dependency_file(modules: Sequence[Module]) -> str:
    """`modules.dep`: each module, then all that must be there before it, nearest first."""
    known: dict[str, Module | None] = {}
    for module in modules:
        known.update(dict.fromkeys(name for name in module.depends if name not in known))
        known[module.name] = module

    def line(module: Module) -> str:
        needed = [one.path for one in in_order([module.name], known) if one is not module]
        return " ".join([f"{module.path}:", *reversed(needed)])

    return "".join(f"{line(module)}\n" for module in modules)


def alias_file(modules: Sequence[Module]) -> str:
    """`modules.alias`: `alias PATTERN MODULE` a line."""
    return "".join(
        f"alias {alias} {module.name}\n" for module in modules for alias in module.aliases
    )


def index(paths: Iterable[str]) -> Mapping[str, str]:
    """Modules' paths by name."""
    return {module_name(path): path for path in paths if ".ko" in PurePosixPath(path).suffixes}


def _before(softdep: str) -> Iterator[str]:
    for word in softdep.split()[1:]:
        if word.endswith(":"):
            return
        yield word
