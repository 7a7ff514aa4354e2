"""The archive is what the kernel and cpio(1) understand, and the same for the same tree."""

from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.image.reading import read_archive
from vctui.image import cpio

_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=8)
_PARTS = _NAMES.filter(lambda name: name not in {".", "..", "TRAILER!!!"})
_PATHS = st.lists(_PARTS, min_size=1, max_size=3).map("/".join)
_NODES = st.one_of(
    st.binary(max_size=40).map(cpio.file),
    st.builds(cpio.link, st.text("abc/.", min_size=1, max_size=10)),
    st.builds(cpio.character_device, st.integers(0, 511), st.integers(0, 4095)),
)


@given(st.dictionaries(_PATHS, _NODES, max_size=8))
def test_everything_is_read_back(tree: dict[str, cpio.Node]) -> None:
    packed = b"".join(cpio.archive(tree))
    assert len(packed) % 512 == 0
    found = read_archive(packed)
    assert tree.items() <= found.items()
    for path in found.keys() - tree.keys():
        assert stat.S_ISDIR(found[path].mode)


@given(st.dictionaries(_PATHS, _NODES, max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_a_tree_does_not_matter(tree, random) -> None:
    items = list(tree.items())
    random.shuffle(items)
    assert b"".join(cpio.archive(dict(items))) == b"".join(cpio.archive(tree))


def test_folders_come_before_what_is_in_them() -> None:
    found = list(
        read_archive(b"".join(cpio.archive({"a/b/c": cpio.file(b"x"), "a-b": cpio.file(b"")})))
    )
    assert found.index("a") < found.index("a/b") < found.index("a/b/c")


def test_a_named_folder_keeps_its_mode() -> None:
    tree = {"tmp": cpio.folder(0o1777), "tmp/file": cpio.file(b"")}
    assert read_archive(b"".join(cpio.archive(tree)))["tmp"].mode == stat.S_IFDIR | 0o1777


@pytest.mark.parametrize("path", ["", "/etc", "a//b", "a/../b", "./a", "a/"])
def test_a_path_that_leaves_the_archive_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="no path of an archive"):
        list(cpio.archive({path: cpio.file(b"")}))
