"""The state machine: which moves there are, and the words for those there are not."""

from __future__ import annotations

import pytest

from vctui.errors import WrongState
from vctui.model.state import TRANSITIONS, State, check_state, check_transition

ALL = [(old, new) for old in State for new in State]


def test_every_state_has_its_moves() -> None:
    assert set(TRANSITIONS) == set(State)


@pytest.mark.parametrize(("old", "new"), ALL)
def test_only_the_tables_moves_are_allowed(old: State, new: State) -> None:
    if new in TRANSITIONS[old]:
        check_transition("pod", "web", old, new)
    else:
        with pytest.raises(WrongState, match="pod 'web' is"):
            check_transition("pod", "web", old, new)


def test_whatever_was_started_can_be_stopped_and_started_again() -> None:
    for state in (State.READY, State.RUNNING, State.PAUSED):
        assert State.STOPPED in TRANSITIONS[state]
    assert TRANSITIONS[State.STOPPED] == {State.RUNNING}


def test_a_move_to_the_same_state_says_that_there_is_nothing_to_do() -> None:
    with pytest.raises(WrongState, match="already paused; there is nothing to do"):
        check_transition("pod", "web", State.PAUSED, State.PAUSED)


def test_a_wrong_state_names_the_remedy() -> None:
    with pytest.raises(
        WrongState,
        match=r"cannot exec in container 'main' while it is paused; it must be running "
        r"\(resume it first\)",
    ):
        check_state("container", "main", State.PAUSED, frozenset({State.RUNNING}), "exec in")
