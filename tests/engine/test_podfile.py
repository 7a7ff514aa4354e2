"""Pod files on disk: reading one, and finding those that an operator is offered."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest

from vctui.engine import podfile
from vctui.errors import FileProblem, InvalidInput
from vctui.model.kinds import AgentType, HypervisorType, NetworkModel
from vctui.settings import Paths, PodDefaults, Settings

SETTINGS = Settings(
    pod=PodDefaults(
        hypervisor_type=HypervisorType.MOCK,
        agent_type=AgentType.NOOP,
        network_model=NetworkModel.CNI,
    )
)


@pytest.mark.parametrize("path", podfile._listed(podfile.DEMO_DIR), ids=lambda path: path.name)
def test_the_shipped_pod_files_can_be_loaded(path: Path) -> None:
    config = podfile.load_pod(path, Settings())
    assert config.id == path.stem
    assert config.hypervisor_type is HypervisorType.QEMU
    assert all(container.rootfs == "busybox" for container in config.containers)


def test_config_toml_gives_what_the_file_leaves_out(tmp_path: Path) -> None:
    file = tmp_path / "web.toml"
    file.write_text('id = "web"')
    config = podfile.load_pod(file, SETTINGS)
    assert config.hypervisor_type is HypervisorType.MOCK
    assert config.agent_type is AgentType.NOOP
    assert config.network_model is NetworkModel.CNI
    file.write_text('id = "web"\nnetwork_model = "noop"')
    assert podfile.load_pod(file, SETTINGS).network_model is NetworkModel.NOOP


@pytest.mark.parametrize("name", ["web.json", "web", "web.conf"])
def test_json_is_known_by_its_name_or_its_first_character(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text(json.dumps({"id": "web"}))
    assert podfile.load_pod(file, SETTINGS).id == "web"


def test_standard_input_is_a_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'id = "main"\nrootfs = "r"\ncmd = {args = ["a"]}'
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    monkeypatch.chdir(tmp_path)
    assert podfile.load_container(Path("-")).rootfs == str(tmp_path / "r")


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "web.toml"
    file.write_bytes(b'\xef\xbb\xbfid = "web"\r\nhostname = "h"\r\n')
    assert podfile.load_pod(file, SETTINGS).hostname == "h"


def _missing(path: Path) -> None:
    pass


def _folder(path: Path) -> None:
    path.mkdir()


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _binary(path: Path) -> None:
    path.write_bytes(b"\x7fELF\xff")


def _huge(path: Path) -> None:
    path.write_bytes(b"#" * (podfile.MAX_BYTES + 1))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_missing, "cannot read .*: No such file or directory; name a readable file"),
        (_folder, "is not a file; name a pod file"),
        (_fifo, "is not a file; name a pod file"),
        (_binary, r"is not UTF-8 text \(byte 4\); save it as UTF-8"),
        (_huge, "is larger than 1 MiB; name a pod file"),
    ],
)
def test_what_is_no_pod_file_is_named_at_once(tmp_path: Path, make: object, said: str) -> None:
    file = tmp_path / "web.toml"
    make(file)  # type: ignore[operator]
    with pytest.raises(FileProblem, match=said):
        podfile.load_pod(file, SETTINGS)


def test_ones_own_pod_files_are_offered_before_the_shipped_ones(tmp_path: Path) -> None:
    for name in ("zebra.toml", "ant.json", "notes.txt"):
        (tmp_path / name).write_text("")
    offered = podfile.pod_files(Settings(paths=Paths(pods_dir=str(tmp_path))))
    assert [path.name for path in offered] == [
        "ant.json",
        "zebra.toml",
        "hello.toml",
        "shell.toml",
        "two.toml",
    ]


def test_a_folder_that_is_not_there_offers_nothing(tmp_path: Path) -> None:
    offered = podfile.pod_files(Settings(paths=Paths(pods_dir=str(tmp_path / "none"))))
    assert {path.parent for path in offered} == {podfile.DEMO_DIR}


MANIFEST = """apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  dnsPolicy: Default
  containers: [{name: main, image: shop, resources: {limits: {memory: 1Mi}}}]
"""


@pytest.mark.parametrize("name", ["web.yaml", "web.yml", "web"])
def test_a_kubernetes_manifest_is_taken_as_a_pod_file(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text(MANIFEST)
    warnings: list[str] = []
    config = podfile.load_pod(file, SETTINGS, warn=warnings.append)
    assert config.hypervisor_type is HypervisorType.MOCK
    assert config.vm_config.memory == SETTINGS.pod.memory + 1
    assert warnings == [f"{file}: spec.dnsPolicy is not supported and has no effect"]


def test_a_kubernetes_manifest_may_be_json(tmp_path: Path) -> None:
    file = tmp_path / "web.json"
    containers = [{"name": "main", "image": "shop"}]
    document = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}}
    file.write_text(json.dumps({**document, "spec": {"containers": containers}}))
    assert podfile.load_pod(file, SETTINGS).containers[0].image == "shop"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id: web", "YAML without apiVersion and kind"),
        (MANIFEST.replace("Pod", "Job"), "only a Pod of v1"),
        (MANIFEST.replace("main", "-"), "not a legal container id"),
    ],
)
def test_yaml_that_is_no_pod_is_refused(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "web.yaml"
    file.write_text(text)
    with pytest.raises(InvalidInput, match=words):
        podfile.load_pod(file, SETTINGS)


def test_a_container_file_is_no_yaml(tmp_path: Path) -> None:
    file = tmp_path / "main.yaml"
    file.write_text("id: main")
    with pytest.raises(FileProblem, match="as TOML or JSON"):
        podfile.load_container(file)
