"""The initrd has what boots the guest, and every library that its programs need."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.image.reading import dynamic, elf
from vctui.errors import GuestBuildFailed
from vctui.image import initrd, recipe, rootinit
from vctui.image.modules import Module


def test_init_names_modules_and_the_agent() -> None:
    tree = initrd.base(["virtio_console", "9p", "overlay", "fscache"], "usr/bin/python3.11")
    script = tree["init"].data.decode()
    assert "modprobe -a virtio_console\n" in script
    assert script.endswith(f"python3 -I -S /{recipe.START}\n")
    assert "modprobe -a 9p overlay\n" in tree["etc/later"].data.decode()
    assert tree["usr/bin/python3"].data == b"python3.11"
    assert stat.S_ISCHR(tree["dev/console"].mode)
    for name in ("init", "etc/later"):
        assert tree[name].mode == stat.S_IFREG | 0o755


def test_modules_that_the_kernel_has_built_in_are_not_inserted() -> None:
    tree = initrd.base([], "usr/bin/python3.13")
    assert "modprobe" not in tree["init"].data.decode() + tree["etc/later"].data.decode()


def test_every_program_that_init_calls_has_a_name() -> None:
    tree = initrd.base([*recipe.BOOT_MODULES, *recipe.MODULES], "usr/bin/python3.11")
    names = {path.rpartition("/")[2] for path in tree} | {"busybox"}
    script = tree["init"].data.decode() + tree["etc/later"].data.decode()
    words = [line.split()[0] for line in script.splitlines() if line and line[0] != "#"]
    assert set(words) - {"export", "cd", "echo", "exec"} <= names


def test_every_program_that_the_roots_init_calls_has_a_name() -> None:
    tree = rootinit.tree("6.1", [], b"busybox")
    script = tree["init"].data.decode()
    assert "# no modules" in script
    for word in ("mount", "umount", "modprobe", "sh"):
        assert any(path.endswith(f"bin/{word}") for path in tree)
    assert tree["init"].mode == stat.S_IFREG | 0o755
    modules = [Module(name, f"k/{name}.ko", b"", (), ()) for name in ("virtio_blk", "ext4")]
    tree = rootinit.tree("6.1", modules, b"busybox")
    assert "modprobe -a virtio_blk\n" in tree["init"].data.decode()
    assert "usr/lib/modules/6.1/k/ext4.ko" in tree


def test_libraries_are_followed_to_the_last(tmp_path: Path) -> None:
    files = {
        "usr/bin/crun": elf(dynamic(("liba.so.1", "ld-linux-x86-64.so.2"))),
        f"{recipe.LIBRARY_FOLDER}/liba.so.1": elf(dynamic(("libb.so.1",))),
        f"{recipe.LIBRARY_FOLDER}/libb.so.1": elf(dynamic(())),
        f"{recipe.LIBRARY_FOLDER}/libc.so.1": elf(dynamic(("liba.so.1",))),
        recipe.LOADER: elf({}),
    }
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    tree = initrd.programs(tmp_path, ["usr/bin/crun"], [elf(dynamic(("libc.so.1",)))])
    assert {path: node.data for path, node in tree.items()} == files
    (tmp_path / recipe.LIBRARY_FOLDER / "libb.so.1").unlink()
    with pytest.raises(GuestBuildFailed, match="libb"):
        initrd.programs(tmp_path, ["usr/bin/crun"], [])
