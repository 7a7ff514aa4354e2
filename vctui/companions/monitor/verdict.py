"""Why a machine ended, in one sentence for an operator. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from vctui.companions.monitor.lines import last_line

_PANIC: Final = b"Kernel panic"

_BY_SHUTDOWN: Final = {
    "guest-shutdown": "the guest powered itself off",
    "guest-reset": "the guest reset itself",
    "guest-panic": "the guest kernel panicked",
    "host-qmp-quit": "QEMU was told to quit over its control socket",
    "host-signal": "QEMU was ended by a signal from the host",
    "host-error": "QEMU ran into an error of the host",
    "host-ui": "QEMU was closed",
}
"""QAPI's ShutdownCause."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of a machine that ended."""

    shutdown: str = ""
    """`reason` of QMP's SHUTDOWN event; "" where none came."""
    panicked: bool = False
    """QMP said GUEST_PANICKED."""
    lost: str = ""
    """What the guest cannot do without and had no more, so that we ended the machine."""
    console: bytes = b""
    """The last bytes of the serial console."""
    stderr: bytes = b""
    """The last bytes that QEMU wrote to its standard error."""


def explain(seen: Evidence) -> str:
    if seen.lost:
        return f"{seen.lost}; the machine was ended, as nothing in it could go on"
    panic = last_line(seen.console, _PANIC)
    # a panic looks like a reset to QEMU, unless it has a pvpanic device
    if panic and (seen.panicked or seen.shutdown in {"", "guest-reset", "guest-panic"}):
        return f"the guest kernel panicked: {panic[panic.find('Kernel panic') :]}"
    if seen.panicked:
        return _with_words(_BY_SHUTDOWN["guest-panic"], last_line(seen.console))
    if seen.shutdown:
        return _BY_SHUTDOWN.get(seen.shutdown, f"QEMU shut down ({seen.shutdown[:40]})")
    return _with_words("QEMU was killed (no shutdown event)", last_line(seen.stderr))


def _with_words(what: str, words: str) -> str:
    return f"{what}; {words}" if words else what
