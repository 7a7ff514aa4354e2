"""Facts about the host, read from what its kernel tells."""

from __future__ import annotations

import pytest

from vctui.linux import probe


@pytest.mark.parametrize(
    ("text", "virtual"),
    [
        ("flags\t\t: fpu hypervisor lm\n", True),
        ("processor: 0\nflags : fpu vmx\n", False),
        ("flags : fpu hypervisors\n", False),
        ("Features : fp asimd\n", False),
        ("", False),
    ],
)
def test_a_host_on_a_hypervisor_is_known_by_its_processors_flag(tmp_path, text, virtual):
    (tmp_path / "cpuinfo").write_text(text)
    assert probe.is_virtual_machine(tmp_path / "cpuinfo") is virtual


def test_huge_pages_are_counted_in_mib():
    there = probe.huge_pages()
    assert there.free_mib >= 0
    assert there.folder is None or there.folder.is_dir()
