"""Each function of the API in each state: possible, or refused with nothing changed."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.engine.conftest import container, pod
from vctui import errors
from vctui.engine import api
from vctui.engine.runtime import Runtime
from vctui.model.container import Cmd, ProcessListOptions
from vctui.model.state import TRANSITIONS, State

RULES = tomllib.loads((Path(__file__).parents[1] / "data" / "states.toml").read_text())
WAYS = {
    "ready": (),
    "running": (api.start_pod,),
    "paused": (api.start_pod, api.pause_pod),
    "stopped": (api.start_pod, api.stop_pod),
}
"""What brings a new pod there."""


async def call(function: str, runtime: Runtime, one: str = "main") -> None:
    if function == "CreateContainer":
        await api.create_container("web", container("more"), runtime=runtime)
        return
    calls: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "StartPod": (api.start_pod, ("web",)),
        "StopPod": (api.stop_pod, ("web",)),
        "PausePod": (api.pause_pod, ("web",)),
        "ResumePod": (api.resume_pod, ("web",)),
        "DeletePod": (api.delete_pod, ("web",)),
        "StatusPod": (api.status_pod, ("web",)),
        "ListPod": (api.list_pod, ()),
        "StartContainer": (api.start_container, ("web", one)),
        "StopContainer": (api.stop_container, ("web", one)),
        "DeleteContainer": (api.delete_container, ("web", one)),
        "EnterContainer": (api.enter_container, ("web", one, Cmd(args=("true",)))),
        "KillContainer": (api.kill_container, ("web", one, 15, False)),
        "ProcessListContainer": (api.process_list_container, ("web", one, ProcessListOptions())),
        "StatusContainer": (api.status_container, ("web", one)),
    }
    what, arguments = calls[function]
    await what(*arguments, runtime=runtime)


async def must(function: str, allowed: bool, runtime: Runtime, one: str = "main") -> None:
    before = await runtime.list_pods()
    if allowed:
        await call(function, runtime, one)
        return
    with pytest.raises(errors.WrongState):
        await call(function, runtime, one)
    assert await runtime.list_pods() == before


def test_the_moves_are_those_of_the_rules():
    assert {str(old): sorted(new) for old, new in TRANSITIONS.items()} == RULES["moves"]


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("function", RULES["pods"])
async def test_a_function_is_possible_in_these_states_of_the_pod(
    runtime: Runtime, function: str, state: State
):
    await api.create_pod(pod(), runtime=runtime)
    for step in WAYS[state]:
        await step("web", runtime=runtime)
    assert (await runtime.status_pod("web")).state is state
    await must(function, state in RULES["pods"][function], runtime)


@pytest.mark.parametrize("state", ["ready", "running", "stopped"])
@pytest.mark.parametrize("function", RULES["containers"])
async def test_a_function_is_possible_in_these_states_of_a_container(
    runtime: Runtime, function: str, state: str
):
    await api.run_pod(pod(), runtime=runtime)
    await api.create_container("web", container("one"), runtime=runtime)
    if state != "ready":
        await api.start_container("web", "one", runtime=runtime)
    if state == "stopped":
        await api.stop_container("web", "one", runtime=runtime)
    assert (await runtime.status_container("web", "one")).state == state
    await must(function, state in RULES["containers"][function], runtime, "one")


def test_the_rules_are_of_every_function_that_is_about_something_there():
    made = {"CreatePod", "RunPod"}
    rules = {*RULES["pods"], *RULES["containers"]}
    table = tomllib.loads((Path(__file__).parents[1] / "data" / "api.toml").read_text())
    assert rules | made == {name for names in table["functions"].values() for name in names}
