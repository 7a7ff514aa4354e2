"""What the gateway and the panes tell the rest of the console. Contents are immutable."""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message

from vctui.model.events import Event
from vctui.model.pod import PodStatus
from vctui.present.processes import GuestProcess


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All pods and the newest events at one moment."""

    pods: tuple[PodStatus, ...] = ()
    events: tuple[Event, ...] = ()
    accelerator: str = ""
    """What machines run with on this host: `kvm`, `tcg`; "" while that is not known."""


class Connected(Message):
    """The engine is open."""

    def __init__(self, guest_built: bool) -> None:
        super().__init__()
        self.guest_built = guest_built


class ConnectionFailed(Message):
    """The engine could not be opened, or stopped telling what changes."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


class Changed(Message):
    """A newer snapshot; one that is still unread is replaced by it."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self.snapshot = snapshot

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, Changed)


class ProcessesSampled(Message):
    """The processes of one container; `problem` says why there are none."""

    def __init__(
        self,
        pod_id: str,
        container_id: str,
        processes: tuple[GuestProcess, ...],
        problem: str = "",
    ) -> None:
        super().__init__()
        self.pod_id = pod_id
        self.container_id = container_id
        self.processes = processes
        self.problem = problem


class Progressed(Message):
    """A long operation entered its next phase."""

    def __init__(self, number: int, phase: str) -> None:
        super().__init__()
        self.number = number
        self.phase = phase


class Discarded(Message):
    """Something of thousands of objects is not needed any more: a dialog, the last theme."""


class ForwardProblem(Message):
    """A connection to a pod was not carried, or no port leads to it any more."""

    def __init__(self, pod_id: str, sentence: str) -> None:
        super().__init__()
        self.pod_id = pod_id
        self.sentence = sentence

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, ForwardProblem) and message.sentence == self.sentence
