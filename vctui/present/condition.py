"""The state of a pod or container as symbol, word and colour role: readable without colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vctui.model.container import ContainerStatus
from vctui.model.pod import PodStatus
from vctui.model.state import State


@dataclass(frozen=True, slots=True)
class Condition:
    symbol: str
    word: str
    role: str
    """Name of a colour of the theme."""
    rank: int
    """Order in a table sorted by state: what needs a look first."""

    def __str__(self) -> str:
        return f"{self.symbol} {self.word}"


_PLAIN: Final[dict[State, Condition]] = {
    State.RUNNING: Condition("●", "running", "state-running", 2),
    State.PAUSED: Condition("◐", "paused", "state-paused", 3),
    State.READY: Condition("○", "ready", "state-ready", 4),
    State.STOPPED: Condition("■", "stopped", "state-stopped", 5),
}
_PROBLEM: Final = Condition("✗", "stopped", "state-failed", 0)
_DOING: Final[dict[str, str]] = {
    "create": "creating",
    "start": "starting",
    "run": "starting",
    "stop": "stopping",
    "pause": "pausing",
    "resume": "resuming",
    "restart": "restarting",
    "delete": "deleting",
}


def of_state(state: State) -> Condition:
    return _PLAIN[state]


def of_pod(pod: PodStatus) -> Condition:
    """An operation under way comes before the state; a stop with a reason is a problem."""
    if pod.operation:
        return Condition("◌", _DOING.get(pod.operation, "changing"), "state-busy", 1)
    if pod.state is State.STOPPED and pod.reason:
        return _PROBLEM
    return _PLAIN[pod.state]


def of_container(container: ContainerStatus) -> Condition:
    """A container that ended with another status than 0 is a problem."""
    if container.state is State.STOPPED and (container.exit_code or container.reason):
        return _PROBLEM
    return _PLAIN[container.state]
