"""A thousand pods, of which many change all the time."""

from __future__ import annotations

from tests.fakes.fake_runtime import FakeRuntime, make_pod
from tests.tui.conftest import OpenConsole
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
