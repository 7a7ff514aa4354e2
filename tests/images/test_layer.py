"""Layers of strangers: what they may do to the folder that they are applied to, and to others."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.images.archives import device, file, folder, hardlink, layer, sha256, symlink
from vctui.errors import FileProblem, VctuiError
from vctui.images.layer import Unpacker
from vctui.images.stream import LayerStream, Limits

LIMITS = Limits(max_bytes=8 * 1024**2, max_entries=200, max_ratio=50, ratio_floor=1024**2)


def no_check() -> None:
    pass


def stream(data: bytes) -> LayerStream:
    return LayerStream(io.BytesIO(data), LIMITS, no_check)


def apply(root: Path, *layers: bytes) -> Unpacker:
    root.mkdir(exist_ok=True)
    unpacker = Unpacker(root, LIMITS)
    for one in layers:
        assert unpacker.apply(stream(one)) == sha256(one)
    return unpacker


def tree(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Beside a file that no layer may touch."""
    (tmp_path / "host").mkdir()
    (tmp_path / "host/secret").write_text("untouched")
    return tmp_path / "root"


@pytest.fixture(autouse=True)
def _nothing_outside(root: Path, tmp_path: Path):
    yield
    assert {path.name for path in tmp_path.iterdir()} <= {"host", "root"}
    assert tree(tmp_path / "host") == {"secret"}
    assert (tmp_path / "host/secret").read_text() == "untouched"
    assert stat.S_IMODE((tmp_path / "host/secret").stat().st_mode) == 0o644


def test_files_folders_and_links_are_as_the_layer_has_them(root) -> None:
    apply(
        root,
        layer(
            folder("bin", mode=0o700),
            file("bin/tool", "#!", mode=0o4755, mtime=1000),
            symlink("sh", "bin/tool"),
            hardlink("again", "bin/tool"),
        ),
    )
    assert tree(root) == {"bin", "bin/tool", "sh", "again"}
    assert stat.S_IMODE((root / "bin/tool").stat().st_mode) == 0o4755
    assert (root / "bin/tool").stat().st_mtime == 1000
    assert (root / "again").samefile(root / "bin/tool")
    assert str((root / "sh").readlink()) == "bin/tool"


def test_a_later_layer_replaces_and_adds(root) -> None:
    apply(
        root,
        layer(file("a", "old"), file("b/c", "kept"), file("d", "file")),
        layer(file("a", "new"), file("b/e", "more"), folder("d"), file("d/f")),
    )
    assert tree(root) == {"a", "b", "b/c", "b/e", "d", "d/f"}
    assert (root / "a").read_text() == "new"


def test_whiteouts_remove_what_lower_layers_have(root) -> None:
    apply(
        root,
        layer(file("a"), file("keep"), file("dir/x"), file("dir/y")),
        layer(file(".wh.a"), file(".wh.dir")),
    )
    assert tree(root) == {"keep"}


def test_an_opaque_folder_hides_what_was_and_keeps_what_its_own_layer_brings(root) -> None:
    upper = layer(file("dir/new"), file("dir/sub/new"), file("dir/.wh..wh..opq"))
    apply(root, layer(file("dir/old"), file("dir/sub/old")), upper)
    assert tree(root) == {"dir", "dir/new", "dir/sub", "dir/sub/new"}


def test_a_whiteout_beside_the_same_name_takes_only_the_lower_one(root) -> None:
    apply(root, layer(file("dir/old")), layer(file("dir/new"), file(".wh.dir")))
    assert tree(root) == {"dir", "dir/new"}


def test_names_go_through_the_links_of_lower_layers_inside_the_image(root) -> None:
    apply(
        root,
        layer(folder("usr/lib"), symlink("lib", "usr/lib"), symlink("abs", "/usr")),
        layer(file("lib/x"), file("abs/y"), symlink("up", "../../../.."), file("up/host/z")),
    )
    assert (root / "usr/lib/x").is_file()
    assert (root / "usr/y").is_file()
    assert (root / "host/z").is_file()


def test_a_link_to_the_host_leads_nowhere(root, tmp_path) -> None:
    apply(
        root,
        layer(symlink("out", str(tmp_path / "host"))),
        layer(file("out/secret", "mine"), file("out/.wh.secret"), file("out/more")),
    )
    assert (root / str(tmp_path).lstrip("/") / "host/more").is_file()


def test_a_file_replaces_a_link_and_is_not_written_through_it(root, tmp_path) -> None:
    secret = str(tmp_path / "host/secret")
    apply(root, layer(symlink("a", secret), file("a", "mine", mode=0o777)))
    assert (root / "a").read_text() == "mine"


def test_an_absolute_name_is_one_of_the_image(root, tmp_path) -> None:
    apply(root, layer(file(str(tmp_path / "host/secret"), "mine")))
    assert (root / str(tmp_path).lstrip("/") / "host/secret").read_text() == "mine"


HOSTILE = {
    "a name with ..": layer(file("../host/secret", "mine")),
    "a name with .. inside": layer(file("a/../../host/secret", "mine")),
    "a hard link with ..": layer(hardlink("a", "../host/secret")),
    "a hard link to nothing": layer(hardlink("a", "b")),
    "a hard link to a folder": layer(folder("b"), hardlink("a", "b")),
    "a whiteout of ..": layer(file(".wh...")),
    "a whiteout of .": layer(file(".wh..")),
    "a whiteout of nothing": layer(file(".wh.")),
    "links in a circle": layer(symlink("a", "b"), symlink("b", "a"), file("a/c")),
    "a file used as a folder": layer(file("a"), file("a/b")),
    "a deep tree": layer(file("d/" * 200 + "f")),
    "a long name": layer(file("n" * 300)),
    "too many files": layer(*(file(str(n)) for n in range(201))),
    "no tar": b"x" * 4096,
    "a cut-off tar": layer(file("a", b"x" * 100_000))[:50_000],
    "an owner that is none": layer(file("a", uid=2**32 - 1)),
    "a header without end": layer(("a", {"pax_headers": {"comment": "x" * (5 * 1024**2)}})),
    "a link name with a NUL": layer(("a", {"pax_headers": {"path": "b\0c"}, "data": b""})),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_layer_is_refused(root, data: bytes) -> None:
    if os.geteuid() != 0 and b"\xff" in data:
        pytest.skip("needs root: owners are ignored for others")
    root.mkdir()
    with pytest.raises(FileProblem):
        Unpacker(root, LIMITS).apply(stream(data))


def test_a_hard_link_through_a_link_stays_inside(root, tmp_path) -> None:
    with pytest.raises(FileProblem, match="no file of it"):
        apply(root, layer(symlink("out", str(tmp_path / "host")), hardlink("a", "out/secret")))


def test_a_hard_link_to_a_link_is_that_link(root, tmp_path) -> None:
    secret = str(tmp_path / "host/secret")
    apply(root, layer(symlink("a", secret), hardlink("b", "a")))
    assert str((root / "b").readlink()) == secret


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_device_nodes_are_left_out(root, kind: bytes) -> None:
    apply(root, layer(device("dev/null", kind), file("a")))
    assert tree(root) == {"dev", "a"}


@pytest.mark.root
def test_attributes_that_overlayfs_obeys_are_left_out(root) -> None:
    headers = {"SCHILY.xattr.trusted.overlay.opaque": "y", "SCHILY.xattr.user.x": "y"}
    apply(root, layer(file("a", pax_headers=headers), folder("b", pax_headers=headers)))
    assert os.listxattr(root / "a") == os.listxattr(root / "b") == []


def test_a_file_larger_than_the_limit_is_refused_before_it_is_written(root) -> None:
    root.mkdir()
    big = layer(file("a", b"x" * 5 * 1024**2), file("b", b"x" * 5 * 1024**2))
    with pytest.raises(FileProblem, match=r"images\.max_bytes"):
        Unpacker(root, LIMITS).apply(stream(big))
    assert tree(root) == {"a"}


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_layer_that_grows_out_of_proportion_is_refused(root, compression: str) -> None:
    from tests.images.archives import COMPRESS

    root.mkdir()
    bomb = COMPRESS[compression](layer(file("a", bytes(4 * 1024**2))))
    with pytest.raises(FileProblem, match="50 times"):
        Unpacker(root, LIMITS).apply(stream(bomb))


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_layers_raise_our_errors_and_stay_inside(tmp_path_factory, data) -> None:
    good = bytearray(
        layer(folder("a"), file("a/b", "text"), symlink("c", "a"), hardlink("d", "a/b"))
    )
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(good) - 1))
        good[place] = data.draw(st.integers(0, 255))
    outside = tmp_path_factory.mktemp("damaged")
    (outside / "root").mkdir()
    with contextlib.suppress(VctuiError):
        Unpacker(outside / "root", LIMITS).apply(stream(bytes(good)))
    assert [path.name for path in outside.iterdir()] == ["root"]
