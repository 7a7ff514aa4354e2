"""Write the tables of the console's keys into README.md, from where the console has them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from vctui.tui.actions import ACTIONS, LOG_ACTIONS
from vctui.tui.keymap import display
from vctui.tui.screens.help import MOVING

TARGET: Final = Path(__file__).parents[1] / "README.md"
_TABLE: Final = re.compile(r"(<!-- keys -->\n).*?(<!-- /keys -->)", re.DOTALL)
_FIXED: Final = re.compile(r"(<!-- fixed keys -->\n).*?(<!-- /fixed keys -->)", re.DOTALL)


def table() -> str:
    """Every action with its default keys, in the order of the registry."""
    lines = ["| keys | for | what it does | action |", "| --- | --- | --- | --- |"]
    for action in (*ACTIONS, *LOG_ACTIONS):
        keys = " ".join(f"`{display(key)}`" for key in action.keys)
        lines.append(f"| {keys} | {action.group.lower()} | {action.help} | `{action.id}` |")
    return "\n".join([*lines, ""])


def fixed() -> str:
    """Keys for moving about, which cannot be changed."""
    lines = ["| keys | where | what they do |", "| --- | --- | --- |"]
    lines += [f"| `{keys}` | everywhere | {text} |" for keys, text in MOVING]
    return "\n".join([*lines, ""])


def page(readme: str) -> str:
    """The same page with today's tables."""
    readme = _TABLE.sub(lambda found: f"{found[1]}{table()}{found[2]}", readme)
    return _FIXED.sub(lambda found: f"{found[1]}{fixed()}{found[2]}", readme)


if __name__ == "__main__":
    TARGET.write_text(page(TARGET.read_text(encoding="utf-8")), encoding="utf-8")
