"""The packages that this host's distribution offers for a guest: recipe → exact versions."""

from __future__ import annotations

import os
from dataclasses import dataclass

from vctui.errors import GuestBuildFailed
from vctui.image import recipe
from vctui.image.packages import Apt, Package


@dataclass(frozen=True, slots=True)
class Ingredients:
    packages: tuple[Package, ...]
    python_version: str
    """`3.11`."""

    @property
    def versions(self) -> dict[str, str]:
        return {package.name: package.version for package in self.packages}


async def look_up(apt: Apt) -> Ingredients:
    """Find out what would go into a guest built now. Local and quick: nothing is downloaded.

    Raises:
        GuestBuildFailed: apt does not know a package, or this is another architecture.
        MissingProgram: this host has no apt.
    """
    if (machine := os.uname().machine) != recipe.MACHINE:
        raise GuestBuildFailed(
            f"guests are built on {recipe.MACHINE} only, and this machine is {machine}; "
            "build there and copy the cache folder"
        )
    kernel = await _kernel_packages(apt)
    version = await _python_version(apt)
    library = recipe.python_library_package(version)

    def follow(package: Package, dependency: str) -> bool:
        if package.name in kernel:
            return dependency in kernel
        return package.name != library and bool(recipe.LIBRARY_PACKAGE.fullmatch(dependency))

    programs = (*recipe.PROGRAM_PACKAGES, *recipe.python_packages(version))
    roots = (*kernel, *programs, library, *recipe.PYTHON_MODULE_PACKAGES)
    return Ingredients(await apt.closure(roots, follow), version)


async def _kernel_packages(apt: Apt) -> tuple[str, ...]:
    """The image behind the distribution's metapackage, and the modules where they are apart."""
    offered = await apt.look_up(recipe.KERNEL_METAPACKAGES)
    metapackage = next(
        (offered[name] for name in recipe.KERNEL_METAPACKAGES if name in offered), None
    )
    if metapackage is None:
        raise GuestBuildFailed(
            f"the guest needs the package {recipe.KERNEL_METAPACKAGES[0]}, "
            "which apt does not know; run: apt-get update"
        )
    chosen: dict[str, None] = {}
    pending = [metapackage]
    while pending:
        named = {
            name
            for package in pending
            for group in package.depends
            for name in group[:1]
            if recipe.KERNEL_PACKAGE.fullmatch(name) and name not in chosen
        }
        chosen.update(dict.fromkeys(sorted(named)))
        pending = list((await apt.look_up(named)).values()) if named else []
    if not chosen:
        raise GuestBuildFailed(
            f"the package {metapackage.name} names no kernel; report this with its version"
        )
    return tuple(chosen)


async def _python_version(apt: Apt) -> str:
    metapackage = await apt.get(recipe.PYTHON_METAPACKAGE)
    for group in metapackage.depends:
        if match := recipe.PYTHON_PACKAGE.fullmatch(group[0]):
            return match.group(1)
    raise GuestBuildFailed(
        f"the package {metapackage.name} names no Python; report this with its version"
    )
