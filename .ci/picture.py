"""Make docs/console.svg: Textual's own export of the real console with real pods.

`make picture` runs it in folders of its own; the guest comes from the cache.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import msgspec

from vctui import settings
from vctui.engine import podfile
from vctui.engine.runtime import Runtime
from vctui.linux import files
from vctui.model.kinds import AgentType, HypervisorType
from vctui.tui.app import ConsoleApp

SIZE = (132, 36)
PATIENCE = 60.0


async def picture(scratch: Path, target: Path) -> None:
    host = settings.load(
        overrides={"run_dir": str(scratch / "run"), "state_dir": str(scratch / "state")}
    )
    pods = {file.stem: podfile.load_pod(file, host) for file in podfile.pod_files(host)}
    async with Runtime(host) as runtime:
        try:
            await runtime.run_pod(pods["two"])
            await runtime.run_pod(pods["hello"])
            await runtime.run_pod(msgspec.structs.replace(pods["shell"], id="training"))
            await runtime.pause_pod("training")
            await runtime.create_pod(
                msgspec.structs.replace(
                    pods["two"],
                    id="staging",
                    hypervisor_type=HypervisorType.MOCK,
                    agent_type=AgentType.NOOP,
                )
            )
            files.write_atomic(target, (await _export(ConsoleApp(host))).encode(), mode=0o644)
        finally:
            for status in await runtime.list_pods():
                await runtime.delete_pod(status.id)


async def _export(app: ConsoleApp) -> str:
    async with app.run_test(size=SIZE) as pilot, asyncio.timeout(PATIENCE):
        while "training" not in _text(app):
            await pilot.pause(0.1)
        await pilot.press("j", "3")
        while "tick 9" not in _text(app) or "sleep 1" not in _text(app):
            await pilot.pause(0.1)
        return app.export_screenshot(title="vctui")


def _text(app: ConsoleApp) -> str:
    return app.export_screenshot().replace("&#160;", " ")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="vctui-picture-") as folder:
        asyncio.run(picture(Path(folder), Path(sys.argv[1])))
