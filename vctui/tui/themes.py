"""themes/*.toml → Textual themes.

A theme file has a name, a title, `dark`, a `[palette]` of named colours and `[roles]`: what
each colour is for. A role is the name of a colour of the palette, or a colour itself; roles
that a file leaves out are taken from the palette by ROLES. In stylesheets a role is a
variable: `$state-running`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec
import tomli
from textual.color import Color, ColorParseError
from textual.theme import Theme

from vctui.errors import FileProblem, InvalidConfig, VctuiError

DEFAULT: Final = "vctui-dark"
MAX_BYTES: Final = 64 * 1024

REQUIRED: Final = ("background", "foreground", "surface", "panel", "primary", "accent", "muted")
"""Colours that each palette must name."""

ROLES: Final[dict[str, str]] = {
    "secondary": "primary",
    "success": "primary",
    "warning": "accent",
    "error": "accent",
    "border": "panel",
    "border-focus": "accent",
    "cursor": "panel",
    "cursor-blurred": "panel",
    "mark": "accent",
    "match": "accent",
    "key": "accent",
    "state-running": "primary",
    "state-paused": "accent",
    "state-ready": "foreground",
    "state-stopped": "muted",
    "state-failed": "accent",
    "state-busy": "accent",
}
"""Role → the colour that stands in for it."""

FALLBACKS: Final = {"muted": "#888888", **dict.fromkeys(ROLES, "#888888")}
"""Stand in while no theme of ours is set, so that stylesheets always parse."""

_THEME_ROLES: Final = ("secondary", "success", "warning", "error")


class ThemeFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    palette: dict[str, str]
    title: str = ""
    dark: bool = True
    roles: dict[str, str] = {}


def shipped_dir() -> Path:
    """The themes of vctui: in the wheel's data folder, else in the checkout."""
    package = Path(__file__).parent.parent
    packed = package / "data" / "themes"
    return packed if packed.is_dir() else package.parent / "themes"


def parse(text: str, source: str) -> tuple[str, Theme]:
    """Title and theme of a theme file.

    Raises:
        InvalidConfig: with the source and the key that cannot be used.
    """
    try:
        file = msgspec.convert(tomli.loads(text), ThemeFile)
    except tomli.TOMLDecodeError as error:
        raise InvalidConfig(f"{source} is not valid TOML: {error}; correct it") from error
    except msgspec.ValidationError as error:
        raise InvalidConfig(f"{source}: {error}; compare with a theme of vctui") from error
    if missing := [name for name in REQUIRED if name not in file.palette]:
        raise InvalidConfig(f"{source}: palette lacks {', '.join(missing)}; add it")
    if unknown := sorted(set(file.roles) - set(ROLES)):
        raise InvalidConfig(
            f"{source}: roles.{unknown[0]} is not a role; there are {', '.join(ROLES)}"
        )
    colours = {name: _colour(value, f"{source}: palette.{name}") for name, value in
               file.palette.items()}  # fmt: skip

    def role(name: str) -> str:
        value = file.roles.get(name, ROLES[name])
        return colours.get(value) or _colour(value, f"{source}: roles.{name}")

    roles = {name: role(name) for name in ROLES}
    theme = Theme(
        name=file.name,
        dark=file.dark,
        background=colours["background"],
        foreground=colours["foreground"],
        surface=colours["surface"],
        panel=colours["panel"],
        primary=colours["primary"],
        accent=colours["accent"],
        secondary=roles["secondary"],
        success=roles["success"],
        warning=roles["warning"],
        error=roles["error"],
        variables={
            **{name: value for name, value in roles.items() if name not in _THEME_ROLES},
            "muted": colours["muted"],
            "border-blurred": roles["border"],
            "block-cursor-background": roles["cursor"],
            "block-cursor-foreground": colours["foreground"],
            "block-cursor-text-style": "none",
            "block-cursor-blurred-background": roles["cursor-blurred"],
            "block-cursor-blurred-foreground": colours["foreground"],
            "block-hover-background": roles["cursor-blurred"],
            "footer-key-foreground": roles["key"],
            "scrollbar": colours["panel"],
            "scrollbar-hover": colours["muted"],
            "scrollbar-active": colours["accent"],
            "scrollbar-background": colours["background"],
            "scrollbar-background-hover": colours["background"],
            "scrollbar-background-active": colours["background"],
            "scrollbar-corner-color": colours["background"],
            "input-cursor-background": colours["foreground"],
            "input-cursor-foreground": colours["background"],
        },
    )
    return file.title or file.name, theme


def _colour(value: str, where: str) -> str:
    try:
        colour = Color.parse(value)
    except ColorParseError as error:
        raise InvalidConfig(
            f"{where}: {value!r} is neither a colour like '#5ea1f0' nor a name in the palette"
        ) from error
    return colour.hex


def load(path: Path) -> tuple[str, Theme]:
    """Raises FileProblem or InvalidConfig."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        text = raw.decode("utf-8")
    except OSError as error:
        raise FileProblem(f"cannot read the theme {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FileProblem(f"the theme {path} is not UTF-8 text; save it as UTF-8") from error
    if len(raw) > MAX_BYTES:
        raise FileProblem(f"the theme {path} is larger than 64 KiB; name a theme file")
    return parse(text, str(path))


def load_all(folders: Iterable[Path]) -> tuple[dict[str, tuple[str, Theme]], list[VctuiError]]:
    """Name → title and theme from all TOML files in `folders`, later ones winning; and what
    is wrong with the files that cannot be used."""
    themes: dict[str, tuple[str, Theme]] = {}
    problems: list[VctuiError] = []
    for folder in folders:
        try:
            files = sorted(folder.glob("*.toml"))
        except OSError:
            continue
        for path in files:
            try:
                title, theme = load(path)
            except VctuiError as error:
                problems.append(error)
            else:
                themes[theme.name] = (title, theme)
    return themes, problems
