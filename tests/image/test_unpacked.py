"""Files are found wherever a distribution puts them, never outside the unpacked packages."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from tests.image.reading import bzimage, elf, module, xen_note
from vctui.errors import GuestBuildFailed, MissingProgram
from vctui.image import initrd, unpacked

_RELEASE = "6.1.0-test"
_KERNEL = elf({}, ((4, xen_note(18)), (1, b"code" + bytes(100))))


@pytest.fixture(params=["lib/modules", "usr/lib/modules"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Packages of a kernel with some modules, before or after `/usr` was merged."""
    (tmp_path / "boot").mkdir()
    (tmp_path / f"boot/vmlinuz-{_RELEASE}").write_bytes(bzimage(lzma.compress(_KERNEL)))
    folder = tmp_path / request.param / _RELEASE
    (folder / "kernel/fs").mkdir(parents=True)
    (folder / "modules.builtin").write_text("kernel/lib/built-in.ko\n")
    (folder / "kernel/fs/a-fs.ko").write_bytes(module("depends=base,built_in"))
    (folder / "kernel/base.ko.xz").write_bytes(lzma.compress(module("alias=base-of-all")))
    return tmp_path


async def test_a_kernel_is_found_and_unpacked(root: Path) -> None:
    source = unpacked.find_kernel(root)
    assert source.release == _RELEASE
    kernel = await unpacked.kernel(source)
    assert kernel.startswith(b"\x7fELF")
    assert kernel.endswith(b"code")


async def test_modules_come_with_what_they_need(root: Path) -> None:
    chosen = await unpacked.kernel_modules(unpacked.find_kernel(root), ["a-fs"])
    assert [found.name for found in chosen] == ["base", "a_fs"]
    tree = initrd.kernel_modules(_RELEASE, chosen)
    folder = f"usr/lib/modules/{_RELEASE}"
    assert tree[f"{folder}/kernel/base.ko"].data == module("alias=base-of-all")
    assert tree[f"{folder}/modules.dep"].data.endswith(b"kernel/fs/a-fs.ko: kernel/base.ko\n")
    assert tree[f"{folder}/modules.alias"].data == b"alias base-of-all base\n"


async def test_a_missing_module_is_named(root: Path) -> None:
    with pytest.raises(GuestBuildFailed, match="no module nothing_like_it"):
        await unpacked.kernel_modules(unpacked.find_kernel(root), ["nothing-like-it"])


async def test_a_broken_module_and_a_broken_kernel_are_named(root: Path) -> None:
    source = unpacked.find_kernel(root)
    (source.modules / "kernel/base.ko.xz").write_bytes(b"\xfd7zXZ\0 and then nothing")
    with pytest.raises(GuestBuildFailed, match="base"):
        await unpacked.kernel_modules(source, ["base"])
    source.image.write_bytes(bzimage(b"\xfd7zXZ\0 and then nothing"))
    with pytest.raises(GuestBuildFailed, match=source.image.name):
        await unpacked.kernel(source)


async def test_a_kernel_without_pvh_is_booted_as_it_came(root: Path) -> None:
    source = unpacked.find_kernel(root)
    source.image.write_bytes(bzimage(lzma.compress(elf({}, ((1, b"code"),)))))
    assert await unpacked.kernel(source) == source.image.read_bytes()


def test_packages_without_a_kernel_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GuestBuildFailed, match="no kernel"):
        unpacked.find_kernel(tmp_path)


async def test_a_program_decompresses_what_is_not_built_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lz4 = b"\x02\x21\x4c\x18"
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingProgram, match="apt-get install lz4"):
        await unpacked.decompress(lz4)
    program = tmp_path / "lz4"
    program.write_text("#!/bin/sh\necho plain\nexit 1\n")  # the kernel appends a size: an error
    program.chmod(0o755)
    assert await unpacked.decompress(lz4) == b"plain\n"
    program.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(ValueError, match="broken lz4"):
        await unpacked.decompress(lz4)


def test_links_are_followed_inside_the_packages_only(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/real.so.1.2").write_bytes(b"library")
    (tmp_path / "lib/lib.so.1").symlink_to("real.so.1.2")
    (tmp_path / "lib/loader").symlink_to("/lib/real.so.1.2")
    (tmp_path / "lib/passwd").symlink_to("/etc/passwd")
    assert unpacked.find_file(tmp_path, "usr/lib/lib.so.1").read_bytes() == b"library"
    assert unpacked.find_file(tmp_path, "usr/lib/loader").read_bytes() == b"library"
    with pytest.raises(GuestBuildFailed, match="passwd"):
        unpacked.find_file(tmp_path, "usr/lib/passwd")
