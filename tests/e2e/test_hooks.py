"""Hooks of a pod on a real machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import Host

pytestmark = pytest.mark.vm


def test_hooks_see_the_pod_come_and_go(host: Host):
    def hooks(name: str) -> list[dict[str, object]]:
        return [{"path": "/bin/sh", "args": ["sh", "-c", 'cat > "$0"', str(host.root / name)]}]

    def state(name: str) -> dict[str, object]:
        told: dict[str, object] = json.loads((host.root / name).read_text())
        return told

    phases = ("pre_start", "post_start", "post_stop")
    pod = host.pod("hooked", ("idle", "sleep 100000"), hooks={name: hooks(name) for name in phases})
    host.do("pod", "run", pod)
    machine = host.status("hooked")["machine"]["pid"]
    assert state("post_start")["pid"] == machine
    assert Path(f"/proc/{machine}/comm").read_text().startswith("qemu")
    assert state("pre_start")["status"] == "creating"
    host.do("pod", "delete", "hooked")
    assert "pid" not in state("post_stop")
    assert host.processes("hooked") == []
