"""Which file system a path is on."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.linux import mountinfo
from vctui.linux.mountinfo import Mounted

TEXT = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 7:3 /sub /mnt/a\040b ro,relatime - ext4 /dev/loop3 ro,errors=continue
31 22 0:5 / /mnt/a\040b/proc rw shared:2 master:1 - proc proc rw
32 22 7:4 / /mnt/c ro - xfs /dev/loop4 rw
nonsense
33 22 x:y / /d rw - ext4 /dev/x rw
"""


def test_lines_of_the_kernel_are_read():
    assert tuple(mountinfo.parse(TEXT)) == (
        Mounted((254, 0), "/", "/", read_only=False, type="ext4"),
        Mounted((7, 3), "/sub", "/mnt/a b", read_only=True, type="ext4"),
        Mounted((0, 5), "/", "/mnt/a b/proc", read_only=False, type="proc"),
        # a read-only mount of what can be written to elsewhere
        Mounted((7, 4), "/", "/mnt/c", read_only=False, type="xfs"),
    )


@pytest.mark.parametrize(
    ("path", "point"),
    [
        ("/", "/"),
        ("/mnt", "/"),
        ("/mnt/a b", "/mnt/a b"),
        ("/mnt/a b/x/y", "/mnt/a b"),
        ("/mnt/a b/proc/1", "/mnt/a b/proc"),
        ("/mnt/cc", "/"),
    ],
)
def test_a_path_is_on_the_deepest_mount_above_it(path: str, point: str):
    on = mountinfo.holding(Path(path), tuple(mountinfo.parse(TEXT)))
    assert on
    assert on.point == point


def test_the_newest_mount_hides_those_below_it():
    mounts = (Mounted((1, 1), "/", "/m", False), Mounted((2, 2), "/", "/m", False))
    assert mountinfo.holding(Path("/m/x"), mounts) == mounts[1]
    assert mountinfo.holding(Path("/n"), mounts) is None


@given(st.text())
def test_any_text_is_read(text: str):
    for one in mountinfo.parse(text):
        assert one.device >= (0, 0)


def test_this_host_has_a_root():
    assert mountinfo.holding(Path("/"), mountinfo.read()) is not None
