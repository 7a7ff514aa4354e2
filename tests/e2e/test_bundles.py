"""An OCI bundle in a real guest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.e2e.conftest import Host
from vctui import settings
from vctui.image.rootfs import rootfs_template

pytestmark = [pytest.mark.vm, pytest.mark.root]

SCRIPT = (
    'id; pwd; echo "$A"; cat /data/file; touch /x || echo read-only;'
    "grep NoNewPrivs /proc/1/status;"
    "cd /sys/fs/cgroup/vctui/bundled && cat memory.max cpu.max cpu.weight pids.max"
)


def test_a_bundle_runs_as_it_says(host: Host, guest_cache: Path) -> None:
    bundle = host.root / "bundled"
    template = rootfs_template(settings.load(None, {"cache_dir": str(guest_cache)}), "busybox")
    shutil.copytree(template, bundle / "rootfs", symlinks=True)
    (bundle / "data").mkdir()
    (bundle / "data/file").write_text("mounted\n")
    document = {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 7, "gid": 8, "additionalGids": [9]},
            "args": ["/bin/sh", "-c", SCRIPT],
            "env": ["A=b=c", "PATH=/bin"],
            "cwd": "/data",
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "bundle-host",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/data", "type": "none", "source": "data", "options": ["bind", "ro"]},
        ],
        "linux": {
            "resources": {
                "memory": {"limit": 300 * 1024**2, "reservation": 2**20},
                "cpu": {"quota": 1000, "period": 2000, "shares": 512},
                "pids": {"limit": 50},
                "devices": [{"allow": False, "access": "rwm"}],
            }
        },
        "annotations": {"org.example": "kept"},
    }
    (bundle / "config.json").write_text(json.dumps(document))
    host.do("pod", "run", "--bundle", str(bundle))
    lines = host.do("logs", "bundled", "bundled").splitlines()
    assert lines[0].startswith("uid=7 gid=8")
    assert "9" in lines[0].partition("groups=")[2]
    assert lines[1:4] == ["/data", "b=c", "mounted"]
    assert "read-only" in lines
    assert ["NoNewPrivs:", "1"] in [line.split() for line in lines]
    assert lines[-4:] == [str(300 * 2**20), "1000 2000", "20", "50"]
    status = host.status("bundled")
    assert status["hostname"] == "bundle-host"
    assert status["machine"]["memory"] == 300
    assert status["annotations"]["org.example"] == "kept"
    host.do("pod", "delete", "bundled")
