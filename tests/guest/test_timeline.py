"""Where the guest's time went: its own steps, and those that its kernel has noted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vctui.guest import kmsg
from vctui.guest.timeline import Timeline, now

LOG = [
    b"6,1,0,-;Linux version 6.1\n",
    b"6,2,120000,-;Trying to unpack rootfs image as initramfs...\n SUBSYSTEM=x\n",
    b"6,3,480000,-;Freeing initrd memory: 24000K\n",
    b"6,4,1500000,-;Run /init as init process\n",
    b"7,5,1540000,-;vctui: modules\n",
    b"7,6,1600000,-;vctui: python\n",
]


def test_boot_steps_are_read_from_the_kernels_log():
    ms = 1_000_000
    assert kmsg.steps(LOG, 1900 * ms) == [
        ("kernel", 0, 1500 * ms),
        ("kernel: unpack the initrd", 120 * ms, 480 * ms),
        ("init: mounts", 1500 * ms, 1540 * ms),
        ("init: modules", 1540 * ms, 1600 * ms),
        ("init: python", 1600 * ms, 1900 * ms),
    ]


def test_a_log_that_lacks_lines_gives_the_steps_that_it_has():
    assert kmsg.steps([], 5) == []
    assert [name for name, _, _ in kmsg.steps(LOG[3:4], 5)] == ["kernel"]


@given(st.lists(st.binary(max_size=80), max_size=20))
def test_any_log_is_read(log: list[bytes]):
    assert all(begin <= end for _, begin, end in kmsg.steps(log, 0))


def test_the_newest_steps_are_kept():
    timeline = Timeline(now())
    for number in range(1000):
        timeline.add(str(number), now())
    kept = timeline.steps()
    assert kept[-1][0] == "999"
    assert len(kept) == 256
    assert all(timeline.began <= begin <= end for _, begin, end in kept)
