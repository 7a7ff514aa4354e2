"""The table of live objects."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from textual.app import App, ComposeResult

from vctui.present.columns import Cell, Column
from vctui.present.humanize import age
from vctui.tui.widgets.table import Table

BORN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Thing:
    name: str
    size: int = 0


COLUMNS: tuple[Column[Thing], ...] = (
    Column(id="name", title="NAME", cell=lambda it, now: Cell(it.name),
           sort_key=lambda it: it.name, width=8, most=12),
    Column(id="size", title="SIZE", cell=lambda it, now: Cell(str(it.size), "warning"),
           sort_key=lambda it: it.size, width=6, align="right"),
    Column(id="age", title="AGE", cell=lambda it, now: Cell(age(BORN, now)),
           sort_key=lambda it: 0, width=4, align="right", priority=1),
)  # fmt: skip


class TableApp(App[None]):
    CSS = (
        "Table { height: 8; width: 40; }"
        ".table--header, .table--cursor, .table--mark, .table--empty { color: $text; }"
        ".table--cursor { background: $primary; }"
    )

    def __init__(self, items: list[Thing]) -> None:
        super().__init__()
        self.items = items
        self.now = BORN
        self.heard: list[str] = []

    def compose(self) -> ComposeResult:
        yield Table(COLUMNS, lambda it: it.name, clock=lambda: self.now)

    @property
    def table(self) -> Table[Thing]:
        return self.query_one(Table)

    def on_mount(self) -> None:
        self.table.set_items(self.items)
        self.table.focus()

    def on_table_highlighted(self, message: Table.Highlighted) -> None:
        current = message.table.current
        self.heard.append(current.name if current else "")

    def on_table_activated(self, message: Table.Activated) -> None:
        self.heard.append(f"open {message.table.current.name}")  # type: ignore[union-attr]


def things(count: int) -> list[Thing]:
    return [Thing(f"thing-{number:03}", number % 7) for number in range(count)]


def lines(app: TableApp) -> list[str]:
    return [app.table.render_line(y).text for y in range(8)]


async def test_rows_stand_under_their_titles() -> None:
    app = TableApp(things(2))
    async with app.run_test():
        header, first, second, *rest = (line.rstrip() for line in lines(app))
        assert header == " NAME            SIZE   AGE"
        assert first == " thing-000          0    0s"
        assert second.startswith(" thing-001")
        assert not any(rest)


async def test_the_cursor_stays_with_its_row_when_others_come_and_go() -> None:
    app = TableApp(things(5))
    async with app.run_test() as pilot:
        await pilot.press("down", "j")
        assert app.table.current == Thing("thing-002", 2)
        app.table.set_items([Thing("aaa"), *things(5)[1:]])
        assert app.table.current == Thing("thing-002", 2)
        app.table.set_items([Thing("aaa"), Thing("bbb"), Thing("ccc")])
        assert app.table.current == Thing("ccc")
        await pilot.pause()
        app.table.set_items([])
        assert app.table.current is None
        await pilot.pause()
        assert app.heard == ["thing-000", "thing-001", "thing-002", "ccc", ""]


async def test_a_new_state_of_the_row_under_the_cursor_is_told() -> None:
    app = TableApp(things(2))
    async with app.run_test() as pilot:
        app.table.set_items(things(2))
        await pilot.pause()
        assert app.heard == ["thing-000"]
        app.table.set_items([Thing("thing-000", 99), Thing("thing-001", 1)])
        await pilot.pause()
        assert app.heard == ["thing-000", "thing-000"]


async def test_the_view_follows_the_cursor() -> None:
    app = TableApp(things(100))
    async with app.run_test() as pilot:
        await pilot.press("G")
        assert app.table.cursor_row == 99
        assert "thing-099" in lines(app)[7]
        await pilot.press("pageup")
        assert "thing-093" in "".join(lines(app))
        await pilot.press("g")
        assert "thing-000" in lines(app)[1]


async def test_a_filter_shows_what_matches_and_its_inverse_the_rest() -> None:
    app = TableApp(things(10))
    async with app.run_test():
        app.table.filter_text = "00[3-5]"
        assert [row.name for row in app.table.rows] == ["thing-003", "thing-004", "thing-005"]
        app.table.filter_text = "!00[3-5]"
        assert len(app.table.rows) == 7
        app.table.filter_text = "THING"
        assert not app.table.rows
        app.table.filter_text = "["  # no regular expression: taken as it stands
        assert not app.table.rows
        assert app.table.total == 10


async def test_sorting_by_a_column_and_back() -> None:
    app = TableApp(things(10))
    async with app.run_test():
        app.table.sort_by("size")
        assert [row.size for row in app.table.rows] == sorted(row.size for row in things(10))
        assert "SIZE▲" in lines(app)[0]
        app.table.sort_by("size")
        assert app.table.rows[0].size == 6
        assert "SIZE▼" in lines(app)[0]
        app.table.sort_column = ""
        assert list(app.table.rows) == things(10)


async def test_marks_stay_with_their_rows_and_vanish_with_them() -> None:
    app = TableApp(things(6))
    async with app.run_test():
        app.table.toggle_mark()
        app.table.action_move(2)
        app.table.mark_range()
        assert app.table.marked == {f"thing-{n:03}" for n in range(4)}
        assert lines(app)[1].startswith("✓thing-000")
        app.table.set_items(things(6)[2:])
        assert app.table.marked == {"thing-002", "thing-003"}
        app.table.mark_all()
        assert len(app.table.marked) == 4
        app.table.mark_all()
        assert not app.table.marked


async def test_filtered_rows_keep_their_marks() -> None:
    app = TableApp(things(6))
    async with app.run_test():
        app.table.toggle_mark()
        app.table.filter_text = "005"
        assert app.table.marked == {"thing-000"}


async def test_the_mouse_selects_opens_and_sorts() -> None:
    app = TableApp(things(20))
    async with app.run_test() as pilot:
        await pilot.click(Table, offset=(3, 3))
        assert app.table.cursor_row == 2
        await pilot.click(Table, offset=(3, 4), times=2)
        await pilot.pause()
        assert app.heard[-1] == "open thing-003"
        await pilot.click(Table, offset=(18, 0))
        assert app.table.sort_column == "size"


async def test_only_lines_whose_words_change_are_painted() -> None:
    app = TableApp(things(5))
    async with app.run_test() as pilot:
        await pilot.pause()
        painted: list[int] = []
        render_line = app.table.render_line

        def note(y: int):
            painted.append(y)
            return render_line(y)

        app.table.render_line = note  # type: ignore[method-assign]
        app.table.set_items(things(5))
        await pilot.pause()
        assert painted == []
        changed = things(5)
        changed[3] = Thing("thing-003", 50)
        app.table.set_items(changed)
        await pilot.pause()
        assert set(painted) == {4}


async def test_ages_grow_with_the_clock() -> None:
    app = TableApp(things(1))
    async with app.run_test() as pilot:
        app.now += timedelta(seconds=9)
        app.table.tick()
        await pilot.pause()
        assert "9s" in lines(app)[1]


async def test_an_empty_table_says_what_to_do() -> None:
    app = TableApp([])
    async with app.run_test():
        app.table.empty = "Nothing here.\n\nPress R to run a pod and then look at it in this list."
        assert [line.strip() for line in lines(app)[1:5]] == [
            "Nothing here.", "", "Press R to run a pod and then look at", "it in this list.",
        ]  # fmt: skip


async def test_wide_characters_keep_the_columns_straight() -> None:
    app = TableApp([Thing("日本語日本語日本語"), Thing("abc")])
    async with app.run_test():
        from rich.cells import cell_len

        _, first, second, *_ = lines(app)
        assert cell_len(first) == cell_len(second) == 40
        assert "…" in first
