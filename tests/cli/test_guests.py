"""`vctui guest add|remove|check|list --added`, and pods that name a guest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    file = tmp_path / "vmlinux"
    file.write_bytes(b"kernel")
    return file


def test_a_guest_is_added_listed_and_removed(cli: Cli, kernel: Path):
    words = ("--kernel", str(kernel), "--kernel-param", "quiet", "--kernel-param", "a=b")
    done = cli("guest", "add", "mine", *words, "--protocol", "grpc", "--memory", "512")
    assert (done.status, done.out) == (0, "guest mine is added\n")
    (found,) = cli("guest", "list", "--added", "--json").document
    assert found["kernel_path"] == str(kernel)
    assert found["kernel_params"] == [{"key": "quiet", "value": ""}, {"key": "a", "value": "b"}]
    assert (found["agent_config"]["protocol"], found["memory"]) == ("grpc", 512)
    listed = cli("guest", "list", "--added").lines
    assert listed[0].split() == ["NAME", "AGENT", "BOOTS"]
    assert listed[1].split() == ["mine", "kata", "(grpc)", str(kernel)]
    assert cli("guest", "remove", "mine").status == 0
    assert cli("guest", "list", "--added", "--json").document == []


@pytest.mark.parametrize(
    ("words", "kind", "why"),
    [
        (("mine", "--kernel", "/no/such/kernel"), "file", "is no file"),
        (("mine", "--protocol", "morse"), "invalid-config", "is no AgentProtocol"),
        (("mine", "--agent", "nobody"), "invalid-config", "is no AgentType"),
        (("../mine",), "invalid-id", "is not a legal guest id"),
        (("mine", "--agent", "noop", "--protocol", "grpc"), "invalid-config", "has no effect"),
    ],
)
def test_a_guest_that_no_pod_could_use_is_refused(
    cli: Cli, words: tuple[str, ...], kind: str, why: str
):
    done = cli("guest", "add", "--json", *words)
    assert done.status == 1
    assert done.document["error"]["kind"] == kind
    assert why in done.document["error"]["message"]
    assert cli("guest", "list", "--added", "--json").document == []


def test_a_name_is_taken_until_it_is_forced(cli: Cli, kernel: Path):
    assert cli("guest", "add", "mine", "--kernel", str(kernel)).status == 0
    refused = cli("guest", "add", "mine", "--json")
    assert refused.document["error"]["kind"] == "already-exists"
    assert cli("guest", "list", "--added", "--json").document[0]["kernel_path"] == str(kernel)
    assert cli("guest", "add", "mine", "--force").status == 0
    assert cli("guest", "list", "--added", "--json").document[0]["kernel_path"] == ""


def pod(folder: Path, **keys: object) -> str:
    file = folder / "pod.json"
    document = {"id": "web", "agent_type": "noop", "hypervisor_type": "mock", **keys}
    file.write_text(json.dumps(document))
    return str(file)


def test_a_pod_takes_what_its_guest_says(cli: Cli, kernel: Path, tmp_path: Path):
    words = ("--kernel", str(kernel), "--agent", "noop", "--kernel-param", "a=b", "--memory", "300")
    assert cli("guest", "add", "mine", *words).status == 0
    own = {"kernel_params": [{"key": "a", "value": "c"}]}
    file = pod(tmp_path, guest="mine", hypervisor_config=own)
    assert cli("pod", "create", file).status == 0
    status = cli("pod", "status", "web", "--json").document
    assert status["guest"] == "mine"
    assert status["hypervisor_config"]["kernel_path"] == str(kernel)
    params = [each["value"] for each in status["hypervisor_config"]["kernel_params"]]
    assert params == ["b", "c"]
    assert status["vm_config"]["memory"] == 300
    assert cli("guest", "remove", "mine").status == 0
    assert cli("pod", "start", "web").status == 0


def test_a_pod_with_an_unknown_guest_or_two_kernels_is_refused(
    cli: Cli, kernel: Path, tmp_path: Path
):
    missing = cli("pod", "create", "--json", pod(tmp_path, guest="mine"))
    assert missing.document["error"]["kind"] == "not-found"
    assert cli("guest", "add", "mine", "--kernel", str(kernel), "--agent", "noop").status == 0
    both = pod(tmp_path, guest="mine", hypervisor_config={"kernel_path": str(kernel)})
    refused = cli("pod", "create", "--json", both)
    assert refused.document["error"]["kind"] == "invalid-config"
    assert "both say what to boot" in refused.document["error"]["message"]
    assert cli("pod", "list", "--json").document == []


@pytest.mark.vm  # the mock has no guest that an agent could be in
def test_what_goes_with_a_pods_agent_is_seen_when_its_guest_is_known(
    cli: Cli, kernel: Path, tmp_path: Path
):
    files = ("--kernel", str(kernel), "--initrd", str(kernel))
    assert cli("guest", "add", "far", *files, "--socket", "vsock").status == 0
    assert cli("guest", "add", "near", *files).status == 0
    keys = {"agent_type": "kata", "hypervisor_type": "qemu", "proxy_type": "noProxy"}
    near = cli("pod", "create", "--json", pod(tmp_path, guest="near", **keys))
    assert "needs agent_config.socket_type vsock" in near.document["error"]["message"]
    assert cli("pod", "create", pod(tmp_path, guest="far", **keys)).status == 0
    status = cli("pod", "status", "web", "--json").document
    assert status["agent_config"]["socket_type"] == "vsock"
