"""Chooses the signal, and whether one process gets it or all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from vctui.model.kinds import Signal
from vctui.tui.screens.dialog import Dialog

_MEANINGS: Final[dict[Signal, str]] = {
    Signal.TERM: "ask it to end",
    Signal.KILL: "end it at once",
    Signal.INT: "as Ctrl-C does",
    Signal.HUP: "hang up; many daemons reload",
    Signal.QUIT: "end with a core dump",
    Signal.USR1: "whatever it means to the program",
    Signal.USR2: "whatever it means to the program",
    Signal.STOP: "halt",
    Signal.CONT: "go on after STOP",
}


@dataclass(frozen=True, slots=True)
class Kill:
    signal: Signal
    everyone: bool


class KillDialog(Dialog[Kill]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space,a,tab", "toggle_everyone", "One or all", show=False),
    ]

    hint = "Enter send   Space one/all   Esc leave"

    def __init__(self, pod: str, container: str) -> None:
        super().__init__()
        self.title_text = f"Kill {pod}/{container}"
        self._pod = pod
        self._container = container
        self._everyone = False

    def body(self) -> ComposeResult:
        yield OptionList(
            *(
                Option(
                    Content.assemble(
                        (f"{signal.name:<6}", "bold"), (f"{signal.value:>3}  ", "$muted"), meaning
                    ),
                    id=signal.name,
                )
                for signal, meaning in _MEANINGS.items()
            )
        )
        yield Static(id="everyone")
        yield Static(id="command", classes="command")

    def on_mount(self) -> None:
        self._describe()

    def action_toggle_everyone(self) -> None:
        self._everyone = not self._everyone
        self._describe()

    def on_option_list_option_highlighted(self) -> None:
        self._describe()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(Kill(Signal[event.option.id or "TERM"], self._everyone))

    def _describe(self) -> None:
        options = self.query_one(OptionList)
        chosen = options.highlighted_option
        name = (chosen.id if chosen else None) or "TERM"
        one, everyone = ("○", "●") if self._everyone else ("●", "○")
        self.query_one("#everyone", Static).update(
            Content(f"{one} its first process   {everyone} all its processes")
        )
        extra = " --all" if self._everyone else ""
        self.query_one("#command", Static).update(
            Content(f"$ vctui container kill {self._pod} {self._container} --signal {name}{extra}")
        )
