"""`vctui pod create --bundle`"""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    (folder / "rootfs").mkdir(parents=True)
    document = {
        "process": {"args": ["sleep", "5"], "selinuxLabel": "x"},
        "root": {"path": "rootfs"},
        "linux": {},
    }
    (folder / "config.json").write_text(json.dumps(document))
    return folder


def test_a_bundle_is_a_pod_of_its_folders_name(cli, bundle) -> None:
    created = cli("pod", "create", "--bundle", str(bundle))
    assert created.out == "shop created\n"
    assert created.err == (
        f"warning: {bundle}/config.json: process.selinuxLabel is not supported and has no effect\n"
    )
    (container,) = cli("container", "list", "shop", "--json").document
    assert (container["id"], container["rootfs"]) == ("shop", str(bundle / "rootfs"))
    assert cli("pod", "run", "--bundle", str(bundle), "--id", "other").out == "other\n"


def test_a_file_or_a_bundle(cli, bundle, web) -> None:
    for words in ([], [str(web), "--bundle", str(bundle)], [str(web), "--id", "x1"]):
        result = cli("pod", "create", *words)
        assert (result.status, result.out) == (2, "")
        assert result.err.startswith("error: ")


def test_a_bundle_without_a_configuration_is_said(cli, tmp_path) -> None:
    result = cli("pod", "create", "--bundle", str(tmp_path))
    assert result.status == 1
    assert f"cannot read {tmp_path}/config.json" in result.err


def test_a_mistake_names_the_file_and_the_path(cli, bundle) -> None:
    (bundle / "config.json").write_text('{"linux": {}, "root": {"path": 5}}')
    result = cli("pod", "create", "--bundle", str(bundle))
    assert result.err == f"error: {bundle}/config.json: root.path must be a string, not 5\n"
