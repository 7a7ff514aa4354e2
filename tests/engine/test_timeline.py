"""What a start took is kept with the pod, where somebody records."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.conftest import pod
from vctui.engine.runtime import Runtime
from vctui.errors import NotFound
from vctui.telemetry import trace


async def test_a_recorded_start_is_kept_until_the_next(runtime: Runtime):
    with trace.recording():
        await runtime.run_pod(pod())
    kept = runtime.timeline("web")
    assert kept is not None
    assert kept.operation == "run"
    names = [step.name for step in kept.steps]
    assert names[:2] == ["run pod web", "create the pod"]
    assert "container main" in names
    await runtime.stop_pod("web")
    assert runtime.timeline("web") == kept
    await runtime.start_pod("web")
    assert runtime.timeline("web") is None


async def test_nothing_is_left_of_it_with_the_pod(runtime: Runtime, tmp_path: Path):
    with trace.recording():
        await runtime.run_pod(pod())
    await runtime.delete_pod("web")
    assert not list(tmp_path.rglob("timeline.json"))
    with pytest.raises(NotFound):
        runtime.timeline("web")


async def test_a_timeline_that_was_spoiled_is_none(runtime: Runtime, tmp_path: Path):
    with trace.recording():
        await runtime.run_pod(pod())
    (file,) = tmp_path.rglob("timeline.json")
    file.write_text("{")
    assert runtime.timeline("web") is None
