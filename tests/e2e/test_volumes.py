"""Volumes of a pod on a real machine."""

from __future__ import annotations

import json

import pytest

from tests.e2e.conftest import Host

pytestmark = pytest.mark.vm


def container(name: str, source: str, *, read_only: bool = False) -> dict[str, object]:
    mount = {"type": "volume", "source": source, "destination": "/v", "read_only": read_only}
    cmd = {"args": ["sleep", "100000"]}
    return {"id": name, "rootfs": "busybox", "cmd": cmd, "mounts": [mount]}


def test_containers_share_a_volume_with_the_host(host: Host):
    def sh(name: str, script: str) -> str:
        return host.do("container", "exec", "volumes", name, "--", "sh", "-c", script)

    for name in ("site", "data"):
        (host.root / name).mkdir()
        (host.root / name / "from-host").write_text(name)
    document = {
        "id": "volumes",
        "volumes": [
            {"mount_tag": tag, "host_path": str(host.root / tag)} for tag in ("site", "data")
        ],
        "containers": [container("writer", "site"), container("reader", "site", read_only=True)],
    }
    host.do("pod", "run", host.file("volumes.json", json.dumps(document)))
    assert host.status("volumes")["machine"]["boot"].startswith("restored from a template")

    assert sh("writer", "cat /v/from-host; echo made > /v/from-guest") == "site"
    assert (host.root / "site/from-guest").read_text() == "made\n"
    assert sh("reader", "cat /v/from-guest") == "made\n"
    said = host.run("container", "exec", "volumes", "reader", "--", "touch", "/v/no")
    assert "Read-only file system" in said.stderr

    later = host.file("later.json", json.dumps(container("later", "data")))
    host.do("container", "create", "volumes", later)
    host.do("container", "start", "volumes", "later")
    assert sh("later", "cat /v/from-host") == "data"

    unknown = host.file("unknown.json", json.dumps(container("unknown", "nowhere")))
    error = host.refuse("container", "create", "volumes", unknown)
    assert error["kind"] == "invalid-config"
    assert "'nowhere' is no volume of pod 'volumes'; it has site, data" in error["message"]

    host.do("container", "kill", "volumes", "writer", "--signal", "KILL")
    host.do("container", "stop", "volumes", "writer")
    host.do("container", "delete", "volumes", "writer")
    assert sh("reader", "cat /v/from-guest") == "made\n"  # still mounted for who is left
    host.do("pod", "restart", "volumes")
    assert sh("later", "cat /v/from-host") == "data"
    host.do("pod", "delete", "volumes")


def test_a_volume_that_is_no_folder_is_refused(host: Host):
    file = host.file("plain", "x")
    pod = host.pod("nofolder", volumes=[{"mount_tag": "one", "host_path": file}])
    error = host.refuse("pod", "create", pod)
    assert error["kind"] == "file"
    assert "the volume 'one'" in error["message"]
    assert host.ask("pod", "list") == []
