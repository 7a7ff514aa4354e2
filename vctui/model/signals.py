"""Signals by name and number, and which one asks a container to stop. Pure."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from typing import Final

LAST: Final = signal.NSIG - 1
STOP_SIGNAL: Final = "org.opencontainers.image.stopSignal"
"""The annotation in which a container keeps its image's StopSignal (OCI image specification,
conversion to a runtime configuration)."""

_REAL_TIME: Final = re.compile(r"SIGRT(MIN\+|MAX-)([0-9]{1,2})\Z")


def parse(text: str) -> int:
    """`TERM`, `SIGTERM`, `15`, `RTMIN+3` → the number. Raises ValueError."""
    text = text.strip().upper()
    if text.isascii() and text.isdigit() and len(text) <= len(str(LAST)):
        number = int(text)
    else:
        name = text if text.startswith("SIG") else f"SIG{text}"
        if found := _REAL_TIME.match(name):
            steps = int(found[2])
            number = signal.SIGRTMIN + steps if found[1] == "MIN+" else signal.SIGRTMAX - steps
            if not signal.SIGRTMIN <= number <= signal.SIGRTMAX:
                number = 0
        else:
            number = signal.Signals.__members__.get(name, 0)
    if not 1 <= number <= LAST:
        raise ValueError(f"{text[:40]!r} is no signal; use a name like TERM or a number to {LAST}")
    return int(number)


def name(number: int) -> str:
    """`SIGTERM`; the number itself for a real-time signal without a name."""
    return next((one.name for one in signal.Signals if one == number), str(number))


def stop_signal(annotations: Mapping[str, str]) -> int:
    """What a container with these annotations is asked to stop with. Raises ValueError."""
    return parse(annotations.get(STOP_SIGNAL) or "SIGTERM")
