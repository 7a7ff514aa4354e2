from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from textual.color import Color

from vctui.errors import InvalidConfig
from vctui.tui import themes

SHIPPED = sorted(themes.shipped_dir().glob("*.toml"))
STATES = ("state-running", "state-paused", "state-ready", "state-stopped", "state-failed")

GOOD = """
name = "mine"
[palette]
background = "#000000"
foreground = "#ffffff"
surface = "#111111"
panel = "#222222"
primary = "#0000ff"
accent = "#00ffff"
muted = "#888888"
[roles]
state-running = "primary"
state-failed = "#ff0000"
"""


def contrast(one: Color, other: Color) -> float:
    """WCAG 2 contrast ratio."""

    def luminance(colour: Color) -> float:
        parts = [
            part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4
            for part in colour.normalized
        ]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_shipped_themes_are_what_was_promised() -> None:
    found, problems = themes.load_all([themes.shipped_dir()])
    assert not problems
    assert {"vctui-dark", "vctui-light", "high-contrast", "colour-blind"} <= set(found)
    assert any(not theme.dark for _, theme in found.values())


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_colour_can_be_read_on_its_ground(path: Path) -> None:
    _, theme = themes.load(path)
    least = 7.0 if theme.name == "high-contrast" else 4.0
    background = Color.parse(theme.background or "")
    for role in STATES:
        assert contrast(Color.parse(theme.variables[role]), background) >= least, role
    assert contrast(Color.parse(theme.foreground or ""), background) >= 7.0


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_states_have_colours_of_their_own(path: Path) -> None:
    _, theme = themes.load(path)
    for one, other in combinations(STATES, 2):
        assert theme.variables[one] != theme.variables[other]


def test_a_role_is_a_name_of_the_palette_or_a_colour() -> None:
    title, theme = themes.parse(GOOD, "mine.toml")
    assert title == "mine"
    assert theme.variables["state-running"] == "#0000FF"
    assert theme.variables["state-failed"] == "#FF0000"
    assert theme.variables["state-paused"] == "#00FFFF"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = ", "not valid TOML"),
        ("name = 3\n[palette]", "name"),
        (GOOD.replace('primary = "#0000ff"\n', ""), "palette lacks primary"),
        (GOOD.replace('"#0000ff"', '"bleu"'), "palette.primary: 'bleu'"),
        (GOOD + 'state-sleepy = "primary"\n', "roles.state-sleepy is not a role"),
        (GOOD.replace('"primary"', '"primry"'), "roles.state-running: 'primry'"),
        (GOOD + "[extra]\n", "extra"),
    ],
)
def test_a_broken_theme_says_what_is_wrong_with_it(text: str, said: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        themes.parse(text, "mine.toml")
    assert "mine.toml" in str(caught.value)
    assert said in str(caught.value)


def test_broken_files_do_not_keep_the_others_away(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("name =")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe")
    (tmp_path / "c.toml").write_text(GOOD)
    found, problems = themes.load_all([tmp_path, tmp_path / "missing"])
    assert list(found) == ["mine"]
    assert len(problems) == 2
