"""A thousand pods, of which many change all the time."""

from __future__ import annotations

from tests.fakes.fake_runtime import FakeRuntime, make_pod
from tests.tui.conftest import OpenConsole
from vctui.model.events import EventKind
from vctui.model.state import State

STATES = list(State)


def name(number: int) -> str:
    return f"pod-{number:04}"


async def test_a_thousand_pods_are_listed_found_and_kept_up_with(
    open_console: OpenConsole,
) -> None:
    runtime = FakeRuntime(make_pod(name(n), STATES[n % 4]) for n in range(1000))
    async with open_console(runtime) as console:
        await console.sees("Pods 1000")
        await console.press("G")
        await console.sees(name(999))
        for round_ in range(5):
            for n in range(0, 1000, 20):
                runtime.set_pod(make_pod(name(n), STATES[round_ % 4]))
            await console.press("up")
        runtime.set_pod(make_pod(name(994), State.STOPPED, reason="it died"))
        await console.until(lambda: console.main.context.pod == runtime.pods[name(994)])
        await console.press("slash", *"0500", "enter")
        await console.sees("Pods 1/1000")


async def test_only_what_is_visible_is_put_into_words(open_console: OpenConsole) -> None:
    runtime = FakeRuntime(make_pod(name(n)) for n in range(1000))
    async with open_console(runtime) as console:
        await console.sees("Pods 1000")
        asked: set[int] = set()
        cells = console.main.pods._cells

        def note(row: int, now: object):
            asked.add(row)
            return cells(row, now)  # type: ignore[arg-type]

        console.main.pods._cells = note  # type: ignore[assignment, method-assign]
        runtime.set_pod(make_pod("one-more"))
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
    runtime = FakeRuntime(make_pod(name(n)) for n in range(1000))
    async with open_console(runtime) as console:
        await console.sees("Pods 1000")
        await console.pilot.pause()
        laid_out: list[object] = []
        screen, layout = console.app.screen, console.app.screen._refresh_layout

        def note(*args: object, **how: object) -> None:
            laid_out.append(args)
            layout(*args, **how)  # type: ignore[arg-type]

        screen._refresh_layout = note  # type: ignore[method-assign]
        for n in range(500, 520):
            runtime.emit(EventKind.POD_PAUSED, name(n), "paused")
            runtime.set_pod(make_pod(name(n), State.PAUSED))
            await console.until(lambda n=n: console.main._snapshot.pods[n].state is State.PAUSED)
        await console.pilot.pause()
        assert len(laid_out) < 10  # of twenty snapshots; others have their reasons
