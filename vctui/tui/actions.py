"""Everything an operator can do: id, where, on what, in which states, in what words.

Bindings, footer, help screen, command palette and the keys of config.toml are all made from
this registry. Pure: no Textual.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from vctui.model.container import ContainerStatus
from vctui.model.pod import PodStatus
from vctui.model.state import State
from vctui.present.processes import GuestProcess


class Pane(StrEnum):
    PODS = "pods"
    CONTAINERS = "containers"
    PROCESSES = "processes"


class Target(StrEnum):
    """What an action works on; it must be selected."""

    NOTHING = "nothing"
    POD = "pod"
    CONTAINER = "container"
    PROCESS = "process"


EVERYWHERE: Final = frozenset(Pane)
_PODS: Final = frozenset({Pane.PODS})
_CONTAINERS: Final = frozenset({Pane.CONTAINERS, Pane.PROCESSES})
_PROCESSES: Final = frozenset({Pane.PROCESSES})
_ANY_STATE: Final = frozenset(State)
_UP: Final = frozenset({State.RUNNING, State.PAUSED})
_RUNNING: Final = frozenset({State.RUNNING})
_DOWN: Final = frozenset({State.READY, State.STOPPED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    id: str
    label: str
    """One or two words, for the footer."""
    help: str
    keys: tuple[str, ...]
    """Defaults, as Textual names keys."""
    group: str
    panes: frozenset[Pane] = EVERYWHERE
    """Where its keys work; the detail pane counts as the list that was used last."""
    target: Target = Target.NOTHING
    states: frozenset[State] = _ANY_STATE
    """Of the target that allow it."""
    pod_states: frozenset[State] = _ANY_STATE
    changes: bool = False
    """Refused in read-only mode, and while something else is being done to the pod."""
    asks: bool = False
    """Destroys something: never without a dialog."""
    bulk: bool = False
    """Works on all marked pods at once."""
    command: str = ""
    """The command line that does the same; {pod}, {container} are filled in."""
    footer: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What is selected when a key is pressed."""

    pane: Pane = Pane.PODS
    pod: PodStatus | None = None
    container: ContainerStatus | None = None
    process: GuestProcess | None = None
    marked: tuple[PodStatus, ...] = ()
    read_only: bool = False
    connected: bool = True
    """The engine is open."""


def _action(id_: str, keys: str, label: str, help_: str, **rest: object) -> Action:
    return Action(
        id=id_,
        label=label,
        help=help_,
        keys=tuple(keys.split()),
        **rest,  # type: ignore[arg-type]
    )


_POD: Final = {"group": "Pod", "target": Target.POD, "panes": _PODS, "changes": True, "bulk": True}
_POD_ANYWHERE: Final = {**_POD, "panes": EVERYWHERE}
_CONTAINER: Final = {"group": "Container", "target": Target.CONTAINER, "panes": _CONTAINERS}
_CONTAINER_ANYWHERE: Final = {**_CONTAINER, "panes": EVERYWHERE}
_GLOBAL: Final = {"group": "Console"}
_VIEW: Final = {"group": "View"}

ACTIONS: Final[tuple[Action, ...]] = (
    _action(
        "pod.run", "R", "run", "Choose a pod file, create its pod and start it.",
        group="Pod", panes=EVERYWHERE, changes=True, command="vctui pod run {file}",
    ),
    _action(
        "pod.start", "u", "start", "Boot the virtual machine and start its containers.",
        states=_DOWN, command="vctui pod start {pod}", **_POD,
    ),
    _action(
        "pod.stop", "S", "stop", "Stop the containers gracefully, then the machine.",
        states=_UP, asks=True, command="vctui pod stop {pod}", **_POD,
    ),
    _action(
        "pod.pause", "p", "pause", "Freeze the virtual machine; its clock stops.",
        states=_RUNNING, command="vctui pod pause {pod}", **_POD_ANYWHERE,
    ),
    _action(
        "pod.resume", "p", "resume", "Let a paused virtual machine go on.",
        states=frozenset({State.PAUSED}), command="vctui pod resume {pod}", **_POD_ANYWHERE,
    ),
    _action(
        "pod.restart", "r", "restart", "Stop the pod and start it again.",
        states=frozenset({State.RUNNING, State.PAUSED, State.STOPPED}), asks=True,
        command="vctui pod stop {pod} && vctui pod start {pod}", **_POD,
    ),
    _action(
        "pod.delete", "D delete", "delete", "Stop what runs and remove the pod for good.",
        asks=True, command="vctui pod delete {pod}", **_POD,
    ),
    _action(
        "pod.forward", "F", "ports", "Lead ports of this host to ports of the pod.",
        group="Pod", target=Target.POD, states=_UP, changes=True,
        command="vctui pod port-forward {pod} {ports}",
    ),
    _action(
        "container.start", "u", "start", "Start a container of a running pod.",
        states=_DOWN, pod_states=_RUNNING, changes=True,
        command="vctui container start {pod} {container}", **_CONTAINER,
    ),
    _action(
        "container.stop", "S", "stop", "Stop the container: its stop signal, then SIGKILL.",
        states=_UP, pod_states=_RUNNING, changes=True, asks=True,
        command="vctui container stop {pod} {container}", **_CONTAINER,
    ),
    _action(
        "container.shell", "s", "shell", "Open a shell in the container.",
        states=_RUNNING, pod_states=_RUNNING, changes=True,
        command="vctui container exec {pod} {container} -it -- /bin/sh", **_CONTAINER_ANYWHERE,
    ),
    _action(
        "container.exec", "e", "exec", "Type a command and run it in the container.",
        states=_RUNNING, pod_states=_RUNNING, changes=True,
        command="vctui container exec {pod} {container} -it -- {args}", **_CONTAINER_ANYWHERE,
    ),
    _action(
        "container.attach", "a", "attach",
        "Attach to the first process, or to a selected exec (⇄).",
        states=_RUNNING, pod_states=_RUNNING, changes=True,
        command="vctui container attach {pod} {container}", **_CONTAINER_ANYWHERE,
    ),
    _action(
        "container.kill", "K", "kill", "Send a signal to the first process or to all of them.",
        states=_RUNNING, pod_states=_RUNNING, changes=True, asks=True,
        command="vctui container kill {pod} {container} --signal {signal}{all}",
        **_CONTAINER_ANYWHERE,
    ),
    _action(
        "container.delete", "D delete", "delete", "Remove a container that does not run.",
        states=_DOWN, changes=True, asks=True,
        command="vctui container delete {pod} {container}", **_CONTAINER,
    ),
    _action(
        "view.console", "c", "console", "Type into the serial console of the virtual machine.",
        group="View", target=Target.POD, changes=True, command="vctui console {pod}",
    ),
    _action(
        "view.log", "l", "log", "Follow the container's log.",
        group="View", target=Target.CONTAINER, command="vctui logs {pod} {container} -f",
    ),
    _action(
        "view.describe", "d", "details", "Show everything that is known of the selection.",
        group="View", target=Target.POD, command="vctui pod status {pod}",
    ),
    _action("tab.console", "1", "console", "Show the serial console.", footer=False, **_VIEW),
    _action("tab.agent", "2", "agent log", "Show the agent's log.", footer=False, **_VIEW),
    _action("tab.log", "3", "log", "Show the container's log.", footer=False, **_VIEW),
    _action("tab.events", "4", "events", "Show what happened.", footer=False, **_VIEW),
    _action("tab.details", "5", "details", "Show the details.", footer=False, **_VIEW),
    _action(
        "tab.timeline", "6", "timeline", "Show where the time of the pod's last start went.",
        footer=False, **_VIEW,
    ),
    _action(
        "tab.network", "7", "network", "Show interfaces, addresses, routes and live traffic.",
        footer=False, **_VIEW,
    ),
    _action("view.zoom", "z", "zoom", "Give the pane the whole screen, and back.", **_VIEW),
    _action(
        "list.filter", "slash", "filter", "Show what matches a regular expression; ! inverts.",
        **_VIEW,
    ),
    _action("list.sort", "o", "sort", "Choose the column to sort by.", footer=False, **_VIEW),
    _action(
        "list.mark", "space", "mark", "Mark the pod, for doing something to many at once.",
        group="View", panes=_PODS, target=Target.POD, footer=False,
    ),
    _action(
        "list.range", "v", "range", "Mark everything from the last mark to here.",
        group="View", panes=_PODS, target=Target.POD, footer=False,
    ),
    _action("list.all", "A", "mark all", "Mark every pod in the list.",
            group="View", panes=_PODS, target=Target.POD, footer=False),
    _action("view.copy", "y", "copy", "Copy the id of the selection.",
            group="View", target=Target.POD, footer=False),
    _action(
        "guest.build", "B", "build guest", "Build the guest image from Debian packages.",
        group="Console", changes=True, command="vctui guest build", footer=False,
    ),
    _action("app.doctor", "H", "doctor", "Check what vctui needs on this host.",
            command="vctui doctor", footer=False, **_GLOBAL),
    _action("app.theme", "t", "theme", "Choose the colours.", footer=False, **_GLOBAL),
    _action("app.palette", "colon ctrl+p", "commands", "Find a command by its name.",
            footer=False, **_GLOBAL),
    _action("app.help", "question_mark f1", "help", "Show every key.", **_GLOBAL),
    _action("app.quit", "q", "quit", "Close what is open; at the top leave vctui. Pods go on.",
            **_GLOBAL),
)  # fmt: skip
"""In the order of footer and help."""

BY_ID: Final[dict[str, Action]] = {action.id: action for action in ACTIONS}

_LOG: Final = {"group": "In a log"}

LOG_ACTIONS: Final[tuple[Action, ...]] = (
    _action("log.follow", "f", "follow", "Follow it, or stop.", **_LOG),
    _action("log.wrap", "w", "wrap", "Break long lines, or cut them.", **_LOG),
    _action("log.timestamps", "T", "timestamps", "Show when each line was written.", **_LOG),
    _action("log.search", "slash", "search", "Look for a regular expression.", **_LOG),
    _action("log.next", "n", "next match", "Go to the next match.", **_LOG),
    _action("log.previous", "N", "previous match", "Go to the previous match.", **_LOG),
    _action("log.copy", "y", "copy", "Copy what is marked, else what is seen.", **_LOG),
    _action("log.clear", "C", "clear", "Forget the lines that are shown.", **_LOG),
)
"""What a log that has the focus does itself: its keys come before those of ACTIONS."""


def targets(action: Action, context: Context) -> tuple[PodStatus, ...]:
    """The pods a bulk action works on: the marked ones that allow it, else the selected one."""
    if action.bulk and context.marked:
        chosen = context.marked
    else:
        chosen = (context.pod,) if context.pod else ()
    return tuple(pod for pod in chosen if pod.state in action.states and not pod.operation)


def allowed(action: Action, context: Context) -> bool:
    """Whether the selection, its state and the mode let the action happen now."""
    if action.changes and (context.read_only or not context.connected):
        return False
    if context.pane not in action.panes:
        return False
    pod, container = context.pod, context.container
    match action.target:
        case Target.NOTHING:
            return True
        case Target.POD if action.bulk:
            return bool(targets(action, context))
        case Target.POD:
            return pod is not None and pod.state in action.states
        case Target.CONTAINER | Target.PROCESS:
            if pod is None or container is None:
                return False
            if action.changes and pod.operation:
                return False
            return container.state in action.states and pod.state in action.pod_states
    return False


def why_not(action: Action, context: Context) -> str:
    """Why `allowed` says no, in a sentence."""
    pod, container = context.pod, context.container
    if action.changes and context.read_only:
        return "Read-only: changes are switched off."
    if action.changes and not context.connected:
        return "The engine is not open yet."
    if pod is None:
        return f"Cannot {action.label}: no pod is selected."
    if action.target is Target.CONTAINER and container is None:
        return f"Cannot {action.label}: pod {pod.id} has no container."
    if action.changes and pod.operation:
        return f"Cannot {action.label}: {pod.id} is being changed ({pod.operation})."
    if action.target is Target.CONTAINER and container is not None:
        if pod.state not in action.pod_states:
            return f"Cannot {action.label}: pod {pod.id} is {pod.state}."
        return f"Cannot {action.label}: container {container.id} is {container.state}."
    return f"Cannot {action.label}: pod {pod.id} is {pod.state}."


def command_line(action: Action, context: Context, **more: str) -> str:
    """The command that does what `action` does here, ready to paste into a shell."""
    values = {
        "pod": shlex.quote(context.pod.id) if context.pod else "POD",
        "container": shlex.quote(context.container.id) if context.container else "ID",
        **more,
    }
    return action.command.format_map(values)
