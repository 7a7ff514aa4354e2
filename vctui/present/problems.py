"""An error as a title and a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vctui.errors import VctuiError

_TITLES: Final[dict[str, str]] = {
    "invalid": "That cannot be used",
    "invalid-id": "Not a legal id",
    "invalid-config": "Mistake in the configuration",
    "file": "File problem",
    "not-found": "Not there",
    "ambiguous-id": "Ambiguous",
    "already-exists": "Already there",
    "wrong-state": "Not possible now",
    "read-only": "Read-only",
    "host": "This host lacks something",
    "missing-program": "Program missing",
    "guest-not-built": "No guest image",
    "guest-build": "Guest build failed",
    "hook": "Hook failed",
    "permission": "Not permitted",
    "disk-full": "Disk full",
    "hypervisor": "Virtual machine",
    "machine-died": "The virtual machine died",
    "network": "Network",
    "agent": "Agent",
    "agent-unreachable": "Agent out of reach",
    "agent-unsupported": "Not supported by the agent",
    "command": "Command not started",
    "monitor": "Monitor",
    "store": "Store",
}


@dataclass(frozen=True, slots=True)
class Problem:
    title: str
    sentence: str
    expected: bool
    """False for a defect of vctui itself."""


def describe(error: BaseException) -> Problem:
    if isinstance(error, VctuiError):
        return Problem(_TITLES.get(error.kind, "Error"), error.message, True)
    said = str(error) or "no message"
    return Problem(
        "Defect in vctui",
        f"{type(error).__name__}: {said}; this should not happen, please report it",
        False,
    )
