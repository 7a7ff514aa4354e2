"""Devices of containers on a real machine."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.conftest import Host

pytestmark = pytest.mark.vm


def container(name: str, *devices: dict[str, Any]) -> dict[str, Any]:
    cmd = {"args": ["sleep", "100000"]}
    return {"id": name, "rootfs": "busybox", "cmd": cmd, "device_infos": devices}


def sh(host: Host, pod: str, name: str, script: str) -> str:
    return host.do("container", "exec", pod, name, "--", "sh", "-c", script)


def test_character_devices_and_fifos_are_there_with_owner_and_mode(host: Host):
    devices = (
        {"container_path": "/dev/nothing", "major": 1, "minor": 3, "file_mode": 0o640, "uid": 7},
        {"container_path": "/dev/below/zeros", "host_path": "/dev/zero", "gid": 8},
        {"container_path": "/dev/messages", "dev_type": "u", "major": 1, "minor": 11},
        {"container_path": "/dev/pipe", "dev_type": "p", "file_mode": 0o622},
    )
    document = {"id": "chars", "containers": [container("main", *devices), container("none")]}
    host.do("pod", "run", host.file("chars.json", json.dumps(document)))
    paths = " ".join(str(each["container_path"]) for each in devices)
    assert sh(host, "chars", "main", f"stat -c '%n %F %a %u %g %t:%T' {paths}").splitlines() == [
        "/dev/nothing character special file 640 7 0 1:3",
        "/dev/below/zeros character special file 666 0 8 1:5",
        "/dev/messages character special file 666 0 0 1:b",
        "/dev/pipe fifo 622 0 0 0:0",
    ]
    said = sh(host, "chars", "main", "head -c 4 /dev/below/zeros | hexdump -C | head -1")
    assert "00 00 00 00" in said
    # the kernel's log may be written to by who was given it, and by nobody else
    sh(host, "chars", "main", "echo said by main > /dev/messages")
    made = "mknod /dev/messages c 1 11 && echo said by none > /dev/messages"
    refused = host.run("container", "exec", "chars", "none", "--", "sh", "-c", made)
    assert "Operation not permitted" in refused.stderr
    host.do("pod", "delete", "chars")


def test_a_device_that_the_host_lacks_is_refused(host: Host):
    bad = container("main", {"container_path": "/dev/x", "host_path": "/dev/no-such"})
    document = host.file("bad.json", json.dumps({"id": "bad", "containers": [bad]}))
    error = host.refuse("pod", "create", document)
    assert error["kind"] == "file"
    assert "'/dev/no-such' cannot be used: No such file" in error["message"]
    assert "bad" not in [one["id"] for one in host.ask("pod", "list")]
