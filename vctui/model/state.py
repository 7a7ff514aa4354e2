"""States of pods and containers and the moves between them (API document, behaviour sheet §2)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from vctui.errors import WrongState


class State(StrEnum):
    """API: State, of pods and containers."""

    READY = "ready"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


LIVE: Final = frozenset({State.RUNNING, State.PAUSED})
"""A pod has a machine, and a container a process."""

TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    State.READY: frozenset({State.RUNNING, State.STOPPED}),
    State.RUNNING: frozenset({State.PAUSED, State.STOPPED}),
    State.PAUSED: frozenset({State.RUNNING, State.STOPPED}),
    State.STOPPED: frozenset({State.RUNNING}),
}
"""Pods and containers share the table."""

_REMEDY: Final[dict[State, str]] = {
    State.READY: "start it first",
    State.RUNNING: "stop or pause it first",
    State.PAUSED: "resume it first",
    State.STOPPED: "start it first",
}


def check_transition(what: str, name: str, old: State, new: State) -> None:
    """Raises WrongState where the table has no move from `old` to `new`."""
    if new not in TRANSITIONS[old]:
        if old is new:
            raise WrongState(f"{what} {name!r} is already {old}; there is nothing to do")
        raise WrongState(f"{what} {name!r} is {old} and cannot become {new}; {_REMEDY[old]}")


def check_state(what: str, name: str, state: State, allowed: frozenset[State], verb: str) -> None:
    """Raises WrongState where `verb` is not possible in `state`."""
    if state not in allowed:
        wanted = " or ".join(sorted(allowed))
        raise WrongState(
            f"cannot {verb} {what} {name!r} while it is {state}; it must be {wanted}"
            f" ({_REMEDY[state]})"
        )
