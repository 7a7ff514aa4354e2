"""The console on the real engine, with machines that only remember what they were asked."""

from __future__ import annotations

import pytest

from tests.engine.conftest import container, pod
from tests.tui.conftest import DEADLINE, Console
from vctui.engine.runtime import Runtime
from vctui.settings import Settings
from vctui.tui.app import ConsoleApp

pytestmark = pytest.mark.timeout(180)

POD_FILE = """
id = "mine"
hypervisor_type = "mock"
agent_type = "noop"
[[containers]]
id = "main"
rootfs = "busybox"
cmd = { args = ["/bin/sh"] }
"""


async def test_a_pods_whole_life_with_keys_alone(settings: Settings) -> None:
    settings.pods_dir.mkdir()
    (settings.pods_dir / "mine.toml").write_text(POD_FILE)
    app = ConsoleApp(settings)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        console = Console(app, pilot)
        await console.sees("No pods yet.")
        await console.press("R")
        await console.sees("mock machine")
        await console.press("enter")
        await console.sees("● running")
        await console.press("p")
        await console.sees("◐ paused")
        await console.press("p")
        await console.sees("● running")
        await console.press("S")
        await console.sees("Stop?")
        await console.press("y")
        await console.sees("■ stopped")
        await console.press("u")
        await console.sees("● running")
        await console.press("4")
        await console.sees("pod-resumed")
        await console.press("D")
        await console.sees("Delete?")
        await console.press("y")
        await console.sees("no pods")
        assert console.notices == []
    assert app.gateway.stop(grace=0, limit=DEADLINE)


async def test_what_another_program_does_is_seen(settings: Settings) -> None:
    app = ConsoleApp(settings)
    async with app.run_test(size=(120, 40)) as pilot, Runtime(settings) as other:
        console = Console(app, pilot)
        await console.sees("No pods yet.")
        await other.create_pod(pod("from-afar", container("one"), container("two")))
        await console.sees("from-afar")
        await console.sees("○ ready")
        await other.start_pod("from-afar")
        await console.sees("2/2")
        await other.delete_pod("from-afar")
        await console.sees("no pods")
    assert app.gateway.stop(grace=0, limit=DEADLINE)


async def test_read_only_is_the_engines_business_too(settings: Settings) -> None:
    async with Runtime(settings) as other:
        await other.run_pod(pod("web"))
        app = ConsoleApp(settings, read_only=True)
        async with app.run_test(size=(120, 40), notifications=True) as pilot:
            console = Console(app, pilot)
            await console.sees("● running")
            await console.press("D")
            await console.until(lambda: console.notices)
            with pytest.raises(Exception, match="changes are switched off"):
                await app.gateway.delete_pod(1, "web")
            await console.sees("● running")
        assert app.gateway.stop(grace=0, limit=DEADLINE)
