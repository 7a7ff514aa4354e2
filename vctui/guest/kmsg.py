"""Milestones of the guest's boot, from the kernel's log."""

from __future__ import annotations

import os

MAX_RECORDS = 4096
_RECORD = 8192
PREFIX = "vctui: "
"""Before the name of the next step, in what `/init` writes to the log."""
_UNPACKING = ("Trying to unpack rootfs image", "Unpacking initramfs")
"""What kernels of different ages say."""
_STEPS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("kernel", (), "Run /init as init process"),
    ("kernel: unpack the initrd", _UNPACKING, "Freeing initrd memory"),
)


def records(path: str = "/dev/kmsg") -> list[bytes]:
    """All that the kernel still has, each with its head."""
    found: list[bytes] = []
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        while len(found) < MAX_RECORDS:
            try:
                record = os.read(fd, _RECORD)
            except BrokenPipeError:  # overwritten while we read
                continue
            except BlockingIOError:
                break
            if not record:
                break
            found.append(record)
    finally:
        os.close(fd)
    return found


def steps(log: list[bytes], agent: int) -> list[tuple[str, int, int]]:
    """Name, begin and end of the boot's steps, in nanoseconds since the kernel began. Pure.

    Args:
        log: records as `priority,number,microseconds,flags;text` (kernel: dev-kmsg).
        agent: when the agent's first line was executed.
    """
    lines: list[tuple[int, str]] = []
    for record in log:
        head, separator, text = record.partition(b";")
        fields = head.split(b",")
        if separator and len(fields) > 2 and fields[2].isdigit():
            line = text.split(b"\n", 1)[0].decode("utf-8", "replace")
            lines.append((int(fields[2]) * 1000, line))
    found = []
    for name, first, last in _STEPS:
        begin = next((at for at, text in lines if text.startswith(first)), None) if first else 0
        end = next((at for at, text in lines if text.startswith(last)), None)
        if begin is not None and end is not None:
            found.append((name, begin, end))
    marks = [(at, text[len(PREFIX) :]) for at, text in lines if text.startswith(PREFIX)]
    ready = next((at for at, text in lines if text.startswith("Run /init")), None)
    if ready is not None and marks:
        found.append(("init: mounts", ready, marks[0][0]))
    ends = [at for at, _ in marks[1:]] + [agent]
    for (at, name), end in zip(marks, ends, strict=False):
        found.append((f"init: {name}", at, end))
    return [step for step in found if step[1] <= step[2]]
