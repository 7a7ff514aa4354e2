"""Which key does what: the defaults of `actions` with the operator's changes, checked.

Textual accepts clashing and misspelt keys silently, so everything is refused here, before
it gets there.
"""

from __future__ import annotations

import difflib
import re
import string
import unicodedata
from collections.abc import Mapping
from itertools import chain, combinations
from typing import Final

from textual.keys import KEY_NAME_REPLACEMENTS, Keys

from vctui.errors import InvalidConfig
from vctui.tui.actions import ACTIONS, LOG_ACTIONS, Action

Keymap = Mapping[str, tuple[str, ...]]
"""Action id → keys, as Textual names them."""

_ALL: Final = {action.id: action for action in (*ACTIONS, *LOG_ACTIONS)}
_NO_KEY: Final = "no_key"
"""What no terminal sends."""

_MODIFIERS: Final = frozenset({"ctrl", "shift", "alt", "super", "meta", "hyper"})


def _textual_name(character: str) -> str:
    name = unicodedata.name(character).lower().replace("-", "_").replace(" ", "_")
    return KEY_NAME_REPLACEMENTS.get(name, name)


_PUNCTUATION: Final = {character: _textual_name(character) for character in string.punctuation}
_NAMED: Final = frozenset(
    {key.value for key in Keys if "+" not in key.value and "<" not in key.value}
    | set(_PUNCTUATION.values())
    | {"space"}
)
_SHOWN: Final = {name: character for character, name in _PUNCTUATION.items()} | {
    "delete": "Del",
    "insert": "Ins",
    "pageup": "PgUp",
    "pagedown": "PgDn",
}

RESERVED: Final = frozenset(
    {"up", "down", "left", "right", "pageup", "pagedown", "home", "end", "enter", "escape"}
    | {"tab", "shift+tab", "j", "k", "g", "G", "ctrl+c"}
)
"""Move the cursor and the focus; the same everywhere."""


def normalize(key: str) -> str:
    """`key` as Textual names it; `ctrl-k` and `?` are accepted too.

    Raises:
        ValueError: there is no such key.
    """
    text = key.strip()
    if len(text) > 2:
        text = re.sub(r"(?<=[a-z])-(?=.)", "+", text)
    *modifiers, last = text.split("+") if len(text) > 1 and not text.endswith("+") else [text]
    if any(modifier not in _MODIFIERS for modifier in modifiers) or not last:
        raise ValueError(key)
    last = _PUNCTUATION.get(last, last)
    if last not in _NAMED and not (len(last) == 1 and last.isalnum()):
        raise ValueError(key)
    return "+".join([*modifiers, last])


def display(key: str) -> str:
    """How a key is shown to an operator: `?`, `^p`, `Space`, `Del`."""
    *modifiers, last = key.split("+")
    prefix = "".join("^" if name == "ctrl" else f"{name.title()}+" for name in modifiers)
    shown = _SHOWN.get(last, last)
    return prefix + (shown if len(shown) == 1 or last in _SHOWN else shown.title())


def _meet(one: Action, other: Action) -> bool:
    """Whether both could be meant by one key press."""
    if not one.panes & other.panes:
        return False
    same = one.target is other.target
    return not same or bool(one.states & other.states and one.pod_states & other.pod_states)


def build(changes: Mapping[str, str]) -> Keymap:
    """The keymap of the defaults with `[keys]` of config.toml.

    Raises:
        InvalidConfig: unknown action, unknown or reserved key, or two actions on one key.
    """
    keymap = {action.id: tuple(action.keys) for action in _ALL.values()}
    for name, text in changes.items():
        if name not in _ALL:
            near = difflib.get_close_matches(name, _ALL, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "the help screen lists them all"
            raise InvalidConfig(f"keys.{name}: there is no such action; {hint}")
        keys = []
        for part in text.split(",") if text.strip() else ():
            try:
                key = normalize(part)
            except ValueError as error:
                raise InvalidConfig(
                    f"keys.{name}: {part.strip()!r} is not a key; "
                    "write it like 'k', 'ctrl+k', 'f5' or 'delete'"
                ) from error
            if key in RESERVED:
                raise InvalidConfig(
                    f"keys.{name}: {display(key)!r} moves the cursor and cannot be given to "
                    "an action; choose another key"
                )
            keys.append(key)
        keymap[name] = tuple(keys)
    for one, other in chain(combinations(ACTIONS, 2), combinations(LOG_ACTIONS, 2)):
        for key in set(keymap[one.id]) & set(keymap[other.id]):
            if _meet(one, other):
                changed = one.id if one.id in changes else other.id
                kept = other.id if changed == one.id else one.id
                raise InvalidConfig(
                    f"keys.{changed}: {display(key)!r} is already the key of {kept}; "
                    f'choose another, or give {kept} another one ("" for none)'
                )
    return keymap


def by_key(keymap: Keymap) -> dict[str, tuple[Action, ...]]:
    """Key → the actions it may mean, in the order of the registry."""
    found: dict[str, tuple[Action, ...]] = {}
    for action in ACTIONS:
        for key in keymap[action.id]:
            found[key] = (*found.get(key, ()), action)
    return found


def of_log(keymap: Keymap) -> dict[str, str]:
    """The keys of a log's own bindings, as Textual takes them."""
    return {action.id: ",".join(keymap[action.id]) or _NO_KEY for action in LOG_ACTIONS}
