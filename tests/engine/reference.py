"""What every call of the API must come to, in the plainest words: the tests' own state machine."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tests.engine.conftest import container, pod
from vctui import errors
from vctui.engine.runtime import Runtime
from vctui.model.container import Cmd, ProcessListOptions

PODS = ("web-1", "web-2", "web-3")
CONTAINERS = ("one", "two", "three")
LIVE = {"running", "paused"}

Call = tuple[Any, ...]
"""The name of a function and its arguments."""


@dataclass
class Pod:
    state: str = "ready"
    containers: dict[str, str] = field(default_factory=dict)
    started: set[str] = field(default_factory=set)
    """Containers that have, or have had, a process."""
    annotations: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        self.state = "running"
        self.containers = dict.fromkeys(self.containers, "running")
        self.started = set(self.containers)


def some_call(rng: random.Random) -> Call:
    """Any call, sensible or not; lives go on more often than they end."""
    name = rng.choice(PODS)
    one = rng.choice(CONTAINERS)
    some = tuple(rng.sample(CONTAINERS, rng.randint(0, 2)))
    return rng.choice(
        [
            ("create_pod", name, some),
            ("run_pod", name, some),
            ("start_pod", name),
            ("start_pod", name),
            ("stop_pod", name),
            ("pause_pod", name),
            ("resume_pod", name),
            ("restart_pod", name),
            ("delete_pod", name),
            ("status_pod", name),
            ("list_pods",),
            ("set_annotations", name, f"org.example.{one}", str(rng.randint(0, 9))),
            ("create_container", name, one),
            ("create_container", name, one),
            ("start_container", name, one),
            ("start_container", name, one),
            ("stop_container", name, one),
            ("delete_container", name, one),
            ("kill_container", name, one, rng.choice((9, 15, 64))),
            ("enter_container", name, one),
            ("process_list_container", name, one),
            ("status_container", name, one),
            ("set_pid", name, one, rng.randint(1, 1000)),
        ]
    )


async def make(runtime: Runtime, call: Call) -> None:
    """Make the call for real."""
    what, *rest = call
    match what:
        case "create_pod" | "run_pod":
            name, some = rest
            containers = tuple(container(one) for one in some)
            config = msgspec.structs.replace(pod(name), containers=containers)
            await getattr(runtime, what)(config)
        case "set_annotations":
            name, key, value = rest
            await runtime.set_annotations(name, {key: value})
        case "create_container":
            await runtime.create_container(rest[0], container(rest[1]))
        case "enter_container":
            await runtime.enter_container(*rest, Cmd(args=("true",)))
        case "process_list_container":
            await runtime.process_list_container(*rest, ProcessListOptions())
        case _:
            await getattr(runtime, what)(*rest)


def expect(pods: dict[str, Pod], call: Call) -> type[Exception] | None:
    """The error that the call must raise, or None; then `pods` are as it must leave them."""
    what, *rest = call
    if what == "list_pods":
        return None
    name = rest[0]
    if what in {"create_pod", "run_pod"}:
        if name in pods:
            return errors.AlreadyExists
        pods[name] = Pod(containers=dict.fromkeys(rest[1], "ready"))
        if what == "run_pod":
            pods[name].start()
        return None
    if name not in pods:
        return errors.NotFound
    if what.endswith("_pod") or what == "set_annotations":
        return _of_pod(pods, call)
    return _of_container(pods[name], call)


def _of_pod(pods: dict[str, Pod], call: Call) -> type[Exception] | None:
    what, name, *rest = call
    it = pods[name]
    match what, it.state:
        case ("start_pod", "ready" | "stopped") | ("restart_pod", _):
            it.start()
        case "stop_pod", "ready" | "running" | "paused":
            it.state = "stopped"
            it.containers = dict.fromkeys(it.containers, "stopped")
        case "pause_pod", "running":
            it.state = "paused"
            it.containers = {
                one: "paused" if state == "running" else state
                for one, state in it.containers.items()
            }
        case "resume_pod", "paused":
            it.state = "running"
            it.containers = {
                one: "running" if state == "paused" else state
                for one, state in it.containers.items()
            }
        case "delete_pod", _:
            del pods[name]
        case "status_pod", _:
            pass
        case "set_annotations", _:
            it.annotations[rest[0]] = rest[1]
        case _:
            return errors.WrongState
    return None


def _of_container(it: Pod, call: Call) -> type[Exception] | None:
    what, _, one = call[:3]
    if what == "create_container":
        if one in it.containers:
            return errors.AlreadyExists
        it.containers[one] = "ready"
        return None
    if one not in it.containers:
        return errors.NotFound
    match what, it.state, it.containers[one]:
        case "start_container", "running", "ready" | "stopped":
            it.containers[one] = "running"
            it.started.add(one)
        case ("stop_container", "ready" | "running", _) | ("stop_container", _, "stopped"):
            it.containers[one] = "stopped"
        case "delete_container", _, "ready" | "stopped":
            del it.containers[one]
            it.started.discard(one)
        case "kill_container" | "enter_container" | "process_list_container", "running", "running":
            pass
        case "status_container", _, _:
            pass
        case "set_pid", _, _ if one in it.started:
            pass
        case _:
            return errors.WrongState
    return None
