"""A console over a FakeRuntime whose pause waits for a file; what it did is left in another.

Arguments: folder, seconds of grace.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from tests.fakes.fake_runtime import FakeRuntime, make_pod
from vctui.settings import Paths, Settings
from vctui.tui import app

folder = Path(sys.argv[1])
app.GRACE = float(sys.argv[2])  # type: ignore[misc]
runtime = FakeRuntime([make_pod("web")])
let_go = runtime.hold("pause_pod")


def wait_for_file() -> None:
    while not (folder / "go").exists():
        time.sleep(0.01)
    let_go.set()


threading.Thread(target=wait_for_file, daemon=True).start()
paths = Paths(**{name: str(folder / name) for name in Paths.__struct_fields__})
status = app.run(Settings(paths=paths), open_runtime=lambda *_: runtime)  # type: ignore[arg-type, return-value]
names = [call[0] for call in runtime.calls if "pause" in call[0] or call[0] == "close"]
(folder / "done").write_text(f"{status} {runtime.pods['web'].state} {' '.join(names)}")
