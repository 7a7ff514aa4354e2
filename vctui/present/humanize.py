"""Ages, sizes and foreign text in words for a person."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

_STEPS: Final = ((86400, "d"), (3600, "h"), (60, "m"))
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_ESCAPES: Final = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI … final byte
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)"  # OSC, DCS, SOS, PM, APC … terminator
    r"|\x1b[ -/]*[0-~]?",
    re.DOTALL,
)
_CONTROLS: Final = re.compile(
    # C0, DEL, C1; line and paragraph separators; what reorders or hides text.
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]"
)


def duration(span: timedelta | float) -> str:
    """At most two units, never longer than six characters: `7s`, `3m`, `2h05m`, `4d`.

    Negative spans (clocks differ) read as `0s`.
    """
    seconds = int(span.total_seconds() if isinstance(span, timedelta) else span)
    if seconds < 60:
        return f"{max(seconds, 0)}s"
    if seconds < 3600:
        return f"{seconds // 60}m"
    if seconds < 10 * 3600:
        return f"{seconds // 3600}h{seconds % 3600 // 60:02}m"
    for step, unit in _STEPS:
        if seconds >= 2 * step or unit == "h":
            return f"{seconds // step}{unit}"
    return f"{seconds}s"


def age(since: datetime | None, now: datetime) -> str:
    """How long ago `since` was; `-` where there is no such moment."""
    return duration(now - since) if since else "-"


def moment(when: datetime | None) -> str:
    """Local date and time to the second; `-` for None."""
    return when.astimezone().strftime("%Y-%m-%d %H:%M:%S") if when else "-"


def clock(when: datetime) -> str:
    """Local time of day to the second."""
    return when.astimezone().strftime("%H:%M:%S")


def size(count: float) -> str:
    """Bytes with a binary unit and three significant figures: `1.50 MiB`, `12 KiB`."""
    value, unit = float(max(count, 0)), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    if unit == 0 or value >= 100 or value == int(value):
        return f"{value:.0f} {_UNITS[unit]}"
    return f"{value:.1f} {_UNITS[unit]}"


def plain(text: str, limit: int = 400) -> str:
    """One safe line of `text` from an untrusted source: no control sequences, no line breaks,
    nothing that hides or reorders characters, at most `limit` characters."""
    text = _ESCAPES.sub("", text[: limit * 8])
    text = _CONTROLS.sub(" ", text)
    return text if len(text) <= limit else text[: limit - 1] + "…"
