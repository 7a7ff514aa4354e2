"""What is possible in which state, and the keys for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.fake_runtime import make_pod
from vctui.errors import InvalidConfig
from vctui.model.state import State
from vctui.tui import actions, keymap
from vctui.tui.actions import ACTIONS, BY_ID, Context, Pane


def possible(context: Context) -> set[str]:
    return {
        action.id
        for action in ACTIONS
        if action.changes and actions.allowed(action, context) and action.target != "nothing"
    }


def context(state: State, pane: Pane = Pane.PODS, **rest: object) -> Context:
    pod = make_pod("web", state)
    return Context(pane=pane, pod=pod, container=pod.containers_status[0], **rest)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (State.READY, {"pod.start", "pod.delete"}),
        (
            State.RUNNING,
            {"pod.stop", "pod.pause", "pod.restart", "pod.delete", "pod.forward", "container.shell",
             "container.exec", "container.attach", "container.kill"},
        ),
        (State.PAUSED, {"pod.stop", "pod.resume", "pod.restart", "pod.delete", "pod.forward"}),
        (State.STOPPED, {"pod.start", "pod.restart", "pod.delete"}),
    ],
)  # fmt: skip
def test_the_state_decides_what_can_be_done_to_a_pod(state: State, expected: set[str]) -> None:
    assert possible(context(state)) - {"view.console"} == expected


def test_the_same_key_means_the_container_in_its_pane() -> None:
    stop = context(State.RUNNING, Pane.CONTAINERS)
    assert actions.allowed(BY_ID["container.stop"], stop)
    assert not actions.allowed(BY_ID["pod.stop"], stop)


def test_read_only_allows_no_change() -> None:
    for state in State:
        for pane in Pane:
            assert possible(context(state, pane, read_only=True)) == set()


def test_a_pod_that_is_being_changed_is_left_alone() -> None:
    busy = make_pod("web", State.READY, operation="start")
    there = Context(pod=busy, container=busy.containers_status[0])
    assert possible(there) - {"view.console"} == set()
    assert "being changed (start)" in actions.why_not(BY_ID["pod.start"], there)


def test_marked_pods_are_meant_where_there_are_any() -> None:
    pods = [make_pod("a"), make_pod("b", State.STOPPED), make_pod("c")]
    marked = Context(pod=pods[1], marked=tuple(pods))
    stoppable = actions.targets(BY_ID["pod.stop"], marked)
    assert [pod.id for pod in stoppable] == ["a", "c"]


def test_every_refusal_has_a_reason() -> None:
    for action in ACTIONS:
        for state in State:
            for pane in action.panes:
                there = context(state, pane)
                if not actions.allowed(action, there):
                    assert "web" in actions.why_not(action, there) or "main" in actions.why_not(
                        action, there
                    )


def test_every_action_has_a_key_a_label_and_help() -> None:
    for action in ACTIONS:
        assert action.keys
        assert action.label
        assert action.help.endswith(".")


def test_what_destroys_asks() -> None:
    words = ("delete", "stop", "kill", "restart")
    for action in ACTIONS:
        assert action.asks is any(action.id.endswith(f".{word}") for word in words)


def test_every_change_has_its_command_line() -> None:
    for action in ACTIONS:
        if action.changes:
            assert action.command.startswith("vctui ")


def test_a_command_line_can_be_pasted_into_a_shell() -> None:
    line = actions.command_line(BY_ID["container.attach"], context(State.RUNNING))
    assert line == "vctui container attach web main"


# --- keys


def test_the_defaults_do_not_clash() -> None:
    assert keymap.build({})["pod.stop"] == ("S",)


def test_keys_can_be_changed_and_taken_away() -> None:
    built = keymap.build({"pod.stop": "x, ctrl-t", "pod.pause": ""})
    assert built["pod.stop"] == ("x", "ctrl+t")
    assert built["pod.pause"] == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pod.stpo": "x"}, "did you mean 'pod.stop'"),
        ({"zzz": "x"}, "help screen lists them"),
        ({"pod.stop": "ctrl+banana"}, "'ctrl+banana' is not a key"),
        ({"pod.stop": "q"}, "'q' is already the key of app.quit"),
        ({"pod.stop": "D"}, "already the key of pod.delete"),
        ({"container.kill": "p"}, "already the key of pod"),
        ({"pod.stop": "down"}, "moves the cursor"),
    ],
)
def test_keys_that_cannot_be_are_refused(changes: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidConfig, match=r"^keys") as caught:
        keymap.build(changes)
    assert said in str(caught.value)


def test_two_actions_that_never_meet_may_share_a_key() -> None:
    built = keymap.build({"pod.start": "x", "pod.stop": "x"})
    assert built["pod.start"] == built["pod.stop"] == ("x",)


@pytest.mark.parametrize(
    ("written", "name"),
    [("?", "question_mark"), ("/", "slash"), ("ctrl-k", "ctrl+k"), ("F", "F"), ("f5", "f5"),
     ("-", "minus"), ("delete", "delete"), ("space", "space"), ("alt+x", "alt+x")],
)  # fmt: skip
def test_keys_may_be_written_as_people_do(written: str, name: str) -> None:
    assert keymap.normalize(written) == name


@given(st.text())
def test_any_text_is_a_key_or_refused(text: str) -> None:
    try:
        key = keymap.normalize(text)
    except ValueError:
        return
    assert keymap.normalize(key) == key
    assert keymap.display(key)


def test_the_keys_of_a_log_are_checked_among_themselves() -> None:
    assert keymap.build({"log.clear": "x"})["log.clear"] == ("x",)
    assert keymap.build({"log.clear": "s"})["log.clear"] == ("s",)  # a log comes before the rest
    with pytest.raises(InvalidConfig, match=r"'f' is already the key of log\.follow"):
        keymap.build({"log.clear": "f"})
    with pytest.raises(InvalidConfig, match=r"did you mean 'log\.wrap'"):
        keymap.build({"log.wrp": "x"})
