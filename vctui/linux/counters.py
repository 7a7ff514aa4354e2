"""What went through the links of a network namespace (/proc/net/dev)."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from vctui.linux import netns


class LinkCounters(NamedTuple):
    """As the host sees the link."""

    received: int
    """Bytes."""
    received_packets: int
    sent: int
    sent_packets: int


def within(path: Path) -> dict[str, LinkCounters]:
    """By the names of the links. Raises OSError where `path` stands for no namespace."""
    return parse(netns.inside(path, Path("/proc/thread-self/net/dev").read_text, encoding="utf-8"))


def parse(text: str) -> dict[str, LinkCounters]:
    """Of the file's text; lines of another shape are left out."""
    found = {}
    for line in text.splitlines()[2:]:
        name, colon, rest = line.partition(":")
        fields = rest.split()
        if colon and len(fields) >= 10 and all(field.isdecimal() for field in fields):
            values = [int(field) for field in fields]
            found[name.strip()] = LinkCounters(values[0], values[1], values[8], values[9])
    return found
