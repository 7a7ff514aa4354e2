"""Guests in the cache: which there are, and the one that pods boot. Quick, without apt.

<cache_dir>/guests/current            the key of the guest to boot
<cache_dir>/guests/<key>/             manifest.json, vmlinux, initrd, root-initrd, rootfs/
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from vctui.errors import GuestNotBuilt
from vctui.image import manifest
from vctui.image.manifest import Manifest
from vctui.settings import Settings

_PACKAGE: Final = Path(__file__).parent.parent
_REMEDY: Final = "run: vctui guest build"


def guests_folder(settings: Settings) -> Path:
    return settings.cache_dir / "guests"


def pointer(settings: Settings) -> Path:
    """The file that names the current guest."""
    return guests_folder(settings) / "current"


def folder(settings: Settings) -> Path:
    """The current guest's folder; it may be stale.

    Raises:
        GuestNotBuilt
    """
    try:
        key = pointer(settings).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise GuestNotBuilt(f"no guest is built in {settings.cache_dir}; {_REMEDY}") from error
    if not key.isalnum():
        raise GuestNotBuilt(f"{pointer(settings)} is damaged; {_REMEDY}")
    return guests_folder(settings) / key


def current_guest(settings: Settings) -> Manifest:
    """The guest that pods boot, with absolute paths.

    Raises:
        GuestNotBuilt: there is none, it is damaged, or vctui has changed since it was built.
    """
    where = folder(settings)
    found = read(where)
    if found is None or not is_whole(where, found):
        raise GuestNotBuilt(f"the guest in {where} is incomplete; {_REMEDY}")
    if not is_fresh(found):
        raise GuestNotBuilt(f"the guest in {where} was built by another vctui; {_REMEDY}")
    return found


def list_guests(settings: Settings) -> list[Manifest]:
    """All guests that are there and whole, newest first, with absolute paths."""
    folders = sorted(guests_folder(settings).glob("[!.]*/manifest.json"))
    manifests = [(file.parent, read(file.parent)) for file in folders]
    whole = [found for where, found in manifests if found is not None and is_whole(where, found)]
    return sorted(whole, key=lambda found: found.created, reverse=True)


def read(where: Path) -> Manifest | None:
    """The manifest in a guest's folder, with absolute paths; None where it cannot be used."""
    try:
        found = msgspec.json.decode((where / "manifest.json").read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError):
        return None
    if found.format != manifest.FORMAT:
        return None
    return located(found, where)


def located(found: Manifest, where: Path) -> Manifest:
    """The manifest with absolute paths, for those who boot the guest."""
    return msgspec.structs.replace(
        found,
        kernel=str(where / found.kernel),
        initrd=str(where / found.initrd),
        root_initrd=str(where / found.root_initrd),
    )


def is_whole(where: Path, found: Manifest) -> bool:
    """Whether the files are there in their sizes; a look at the contents would take long."""
    try:
        return all(
            (where / name).stat().st_size == output.size for name, output in found.outputs.items()
        )
    except OSError:
        return False


def is_fresh(found: Manifest) -> bool:
    """Whether it was made by this builder, from our modules as they are now."""
    try:
        return found.builder == builder_fingerprint() and all(
            hashlib.sha256((_PACKAGE / name).read_bytes()).hexdigest() == digest
            for name, digest in found.sources.items()
        )
    except OSError:
        return False


@cache
def builder_fingerprint() -> str:
    """Hash of the modules that build guests."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()
