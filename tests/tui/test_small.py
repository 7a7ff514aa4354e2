"""The console in a small terminal."""

from __future__ import annotations

import pytest
from textual.geometry import Region

from tests.fakes.fake_runtime import FakeRuntime, make_pod
from tests.tui.conftest import OpenConsole
from vctui.tui.screens.help import _line

SMALL = (60, 15)


def fleet() -> FakeRuntime:
    return FakeRuntime(make_pod(f"pod-{number}") for number in range(20))


@pytest.mark.parametrize(
    ("keys", "last"),
    [
        (("A", "D"), "#yes"),
        (("D",), "#yes"),
        (("enter", "K"), "#command"),
        (("F",), "#help"),
        (("o",), "OptionList"),
        (("t",), "OptionList"),
        (("enter", "e"), "Static"),
        (("question_mark",), "VerticalScroll"),
        (("R",), "Input"),
    ],
)
async def test_a_dialog_shows_itself_whole(
    open_console: OpenConsole, keys: tuple[str, ...], last: str
) -> None:
    async with open_console(fleet(), size=SMALL) as console:
        await console.press(*keys)
        await console.until(lambda: console.app.screen is not console.main)
        screen = console.app.screen

        def whole() -> bool:
            box = screen.query_one(".dialog").region
            return (
                Region(0, 0, *SMALL).contains_region(box)
                and screen.query_one(last).region.height > 0
                and box.contains_region(screen.query_one(last).region)
            )

        await console.until(whole, f"{last} within the dialog")


async def test_every_list_has_room(open_console: OpenConsole) -> None:
    async with open_console(fleet(), size=SMALL) as console:
        for table in (console.main.pods, console.main.containers, console.main.processes):
            assert table.size.width >= 10, table.id


@pytest.mark.parametrize("room", [30, 50, 66, 88])
def test_the_words_of_a_key_stand_below_each_other(room: int) -> None:
    words = "Stop the containers gracefully, then the machine, and tell what became of it."
    lines = _line(room, "S", words, "pod.stop").plain.splitlines()
    assert all(len(line) <= room for line in lines)
    column = lines[0].index("Stop the")
    assert all(len(line) - len(line.lstrip()) == column for line in lines[1:])
