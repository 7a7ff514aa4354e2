from __future__ import annotations

import pytest

from vctui.engine import lastwords

PANIC = [
    b"[    2.1] Run /init as init process",
    b"hello\x1b[31m",
    b"",
    b"[    2.5] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000300",
    b"[    2.5]  </TASK>",
    b"[    2.5] Rebooting in 1 seconds..",
]


def test_what_came_before_a_panic_is_told_and_not_its_registers():
    (note,) = lastwords.told(PANIC, memory=256)
    assert note == "before the panic the console said: [    2.1] Run /init as init process / hello"


def test_a_guest_that_lives_is_told_by_its_last_lines():
    (note,) = lastwords.told([b"%d" % number for number in range(9)], memory=256)
    assert note == "the console ended with: 6 / 7 / 8"
    (nothing,) = lastwords.told([], memory=256)
    assert nothing.startswith("the console stayed empty; see that")
    assert "256 MiB of memory" in nothing
    assert len(lastwords.told([b"x" * 100_000], memory=256)[0]) < 400


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        (b"Initramfs unpacking failed: write error", "64 MiB of memory seem to be too little"),
        (b"Kernel panic - not syncing: System is deadlocked on memory", "64 MiB of memory"),
        (b"Kernel panic - not syncing: VFS: Unable to mount root fs on", "an executable /init"),
        (b"[    3.2] systemd[1]: Detected virtualization qemu.", "systemd.unit=kata-containers"),
        (b"[  OK  ] Reached target \x1b[0;1;39mMulti-User System\x1b[0m.", "systemd.unit=kata-"),
    ],
)
def test_what_is_known_to_go_wrong_comes_with_advice(line: bytes, advice: str):
    assert advice in lastwords.told([line, *PANIC], memory=64)[-1]


def test_a_line_without_end_is_looked_at_for_no_longer_than_others():
    (note,) = lastwords.told([b"Requested init " * 20_000], memory=64)
    assert len(note) < 400
