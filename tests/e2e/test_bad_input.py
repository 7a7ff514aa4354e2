"""What cannot be gets one sentence that names the object and the remedy, and leaves nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.conftest import Host

pytestmark = pytest.mark.vm

SLEEPER = ("idle", "sleep 100000")


def refused(host: Host, **keys: Any) -> dict[str, str]:
    file = host.pod("bad", *keys.pop("containers", (SLEEPER,)), **keys)
    error = host.refuse("pod", "run", file)
    assert "\n" not in error["message"]
    assert host.ask("pod", "list") == []
    assert host.left_over() == []
    return error


def test_too_little_memory(host: Host):
    error = refused(host, vm_config={"memory": 16})
    assert error["kind"] == "invalid-config"
    assert "vm_config.memory" in error["message"]
    assert "at least" in error["message"]


def test_qemu_is_missing(host: Host):
    error = refused(host, hypervisor_config={"hypervisor_path": "/no/such/qemu"})
    assert error["kind"] == "missing-program"
    assert "/no/such/qemu" in error["message"]
    assert "apt-get install" in error["message"]


def test_qemu_that_dies_at_once_has_its_last_words_in_the_error(host: Host):
    error = refused(host, hypervisor_config={"hypervisor_params": [{"key": "no-such-option"}]})
    assert error["kind"] == "machine-died"
    assert "invalid option" in error["message"]


def test_a_missing_kernel(host: Host):
    error = refused(host, hypervisor_config={"kernel_path": "/no/such/vmlinux"})
    assert error["kind"] == "file"
    assert "/no/such/vmlinux" in error["message"]


def test_a_missing_root_file_system(host: Host):
    file = host.file(
        "rootless.toml",
        'id = "bad"\n'
        "[[containers]]\n"
        'id = "main"\nrootfs = "/no/such/folder"\ncmd = {args = ["sh"]}\n',
    )
    error = host.refuse("pod", "run", file)
    assert error["kind"] == "file"
    assert "/no/such/folder" in error["message"]
    assert host.left_over() == []


def test_a_guest_that_never_answers(host: Host):
    config = host.file("hasty.toml", "[timeouts]\nstart = 3.0\n")
    file = host.pod(
        "silent",
        SLEEPER,
        hypervisor_config={"kernel_params": [{"key": "rdinit", "value": "/bin/nothing"}]},
    )
    done = host.run("--config", config, "pod", "run", file)
    assert done.returncode == 1
    assert "silent" in done.stderr
    assert host.left_over() == []


@pytest.mark.parametrize("command", ["/no/such", "/etc/passwd"])
def test_a_first_command_that_cannot_run_undoes_the_pod(host: Host, command: str):
    file = host.file(
        "command.toml",
        'id = "bad"\n'
        "[[containers]]\n"
        f'id = "main"\nrootfs = "busybox"\ncmd = {{args = ["{command}"]}}\n',
    )
    error = host.refuse("pod", "run", file)
    assert error["kind"] == "command"
    assert command in error["message"]
    assert host.ask("pod", "list") == []
    assert host.left_over() == []
