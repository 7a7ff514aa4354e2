"""A thousand pods, of which many change all the time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tests.fakes.fake_runtime import FakeRuntime, make_pod
from tests.tui.conftest import Console, OpenConsole
from vctui.model.events import EventKind
from vctui.model.state import State
from vctui.tui.messages import Snapshot

STATES = tuple(State)


def name(number: int) -> str:
    return f"pod-{number:04}"


@asynccontextmanager
async def thousand(
    open_console: OpenConsole, states: Sequence[State] = (State.RUNNING,)
) -> AsyncIterator[Console]:
    """A console that shows as many pods, in these states by turns."""
    pods = (make_pod(name(n), states[n % len(states)]) for n in range(1000))
    async with open_console(FakeRuntime(pods)) as console:
        await console.sees("Pods 1000")
        yield console


async def test_a_thousand_pods_are_listed_found_and_kept_up_with(
    open_console: OpenConsole,
) -> None:
    async with thousand(open_console, STATES) as console:
        await console.press("G")
        await console.sees(name(999))
        for round_ in range(5):
            for n in range(0, 1000, 20):
                console.runtime.set_pod(make_pod(name(n), STATES[round_ % 4]))
            await console.press("up")
        console.runtime.set_pod(make_pod(name(994), State.STOPPED, reason="it died"))
        await console.until(lambda: console.main.context.pod == console.runtime.pods[name(994)])
        await console.press("slash", *"0500", "enter")
        await console.sees("Pods 1/1000")


async def test_only_what_is_visible_is_put_into_words(open_console: OpenConsole) -> None:
    async with thousand(open_console) as console:
        asked: set[int] = set()
        cells = console.main.pods._cells

        def note(row: int, now: object):
            asked.add(row)
            return cells(row, now)  # type: ignore[arg-type]

        console.main.pods._cells = note  # type: ignore[assignment, method-assign]
        console.runtime.set_pod(make_pod("one-more"))
        await console.sees("Pods 1001")
        assert len(asked) <= console.main.pods.size.height


async def test_events_are_arranged_when_somebody_sees_them(open_console: OpenConsole) -> None:
    runtime = FakeRuntime([make_pod("web")])
    async with open_console(runtime) as console:
        before = console.main.detail._events_tab.table.total
        runtime.emit(EventKind.POD_PAUSED, "web", "it was paused and resumed")
        runtime.update("web", state=State.PAUSED)
        await console.until(lambda: console.main._snapshot.events != ())
        assert console.main.detail._events_tab.table.total == before
        await console.press("4")
        await console.sees("it was paused and resumed")


async def test_snapshots_do_not_lay_the_screen_out_anew(
    open_console: OpenConsole,
) -> None:
    async with thousand(open_console) as console:
        await console.pilot.pause()
        laid_out: list[object] = []
        screen, layout = console.app.screen, console.app.screen._refresh_layout

        def note(*args: object, **how: object) -> None:
            laid_out.append(args)
            layout(*args, **how)  # type: ignore[arg-type]

        screen._refresh_layout = note  # type: ignore[method-assign]
        for n in range(500, 520):
            console.runtime.emit(EventKind.POD_PAUSED, name(n), "paused")
            console.runtime.set_pod(make_pod(name(n), State.PAUSED))
            await console.until(lambda n=n: console.main._snapshot.pods[n].state is State.PAUSED)
        await console.pilot.pause()
        assert len(laid_out) < 10  # of twenty snapshots; others have their reasons


async def test_rows_are_updated_and_not_rebuilt(open_console: OpenConsole) -> None:
    async with thousand(open_console) as console:
        painted: set[int] = set()
        pods = console.main.pods
        render = pods.render_line

        def note(y: int) -> object:
            painted.add(y)
            return render(y)

        now = pods._clock()
        pods._clock = lambda: now  # ages change by themselves
        pods.tick()
        await console.pilot.pause()
        pods.render_line = note  # type: ignore[assignment, method-assign]
        for n in (700, 3, 800):
            console.runtime.set_pod(make_pod(name(n), State.PAUSED))
            await console.until(lambda n=n: console.main._snapshot.pods[n].state is State.PAUSED)
        await console.until(lambda: painted)
        await console.pilot.pause()
        assert painted == {1 + 3}  # below the line of titles


async def test_the_log_of_the_selection_opens_while_others_change_all_the_time(
    open_console: OpenConsole,
) -> None:
    runtime = FakeRuntime(make_pod(name(n)) for n in range(10))
    async with open_console(runtime) as console:
        await console.press("3")
        await console.until(lambda: console.main.detail.border_title == f"{name(0)}/main")
        changes = 0

        def changed_meanwhile() -> bool:
            """What a busy host does: no moment without a newer snapshot."""
            nonlocal changes
            changes += 1
            state = State.PAUSED if changes % 2 else State.RUNNING
            pods = list(console.main._snapshot.pods)
            pods[9] = make_pod(name(9), state)
            console.main.show_snapshot(Snapshot(tuple(pods)))
            return console.main.detail.border_title == f"{name(5)}/main"

        console.main.pods.select(name(5))
        await console.until(changed_meanwhile, "the log of another pod")
