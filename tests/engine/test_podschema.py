"""The schema accepts the pod files that we accept, and says what keys are for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from vctui.engine import docstrings, podfile
from vctui.engine.podschema import pod_schema
from vctui.errors import InvalidInput
from vctui.model.pod import PodConfig
from vctui.model.podfile import Format, parse_pod

ROOT = Path(__file__).parents[2]
VALIDATOR = jsonschema.Draft202012Validator(pod_schema())
DEMOS = sorted(podfile.DEMO_DIR.glob("*.toml"))
IN_DOCUMENTS = [
    block
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))
    for block in re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL)
    if re.search(r'^id = "', block, re.MULTILINE)
]


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(pod_schema())


@pytest.mark.parametrize("path", DEMOS, ids=lambda path: path.name)
def test_the_shipped_pod_files_fit_it(path: Path):
    VALIDATOR.validate(tomllib.loads(path.read_text()))


@pytest.mark.parametrize("text", IN_DOCUMENTS)
def test_the_pod_files_in_the_documents_fit_it(text: str):
    VALIDATOR.validate(tomllib.loads(text))


def container(**keys: Any) -> dict[str, Any]:
    return {"id": "main", "rootfs": "busybox", "cmd": {"args": ["x"]}, **keys}


@pytest.mark.parametrize(
    ("document", "fits"),
    [
        ({"id": "web"}, True),
        ({}, False),
        ({"id": "w"}, False),
        ({"id": "../web"}, False),
        ({"id": "web", "idd": "x"}, False),
        ({"id": "web", "hypervisor_type": "mock"}, True),
        ({"id": "web", "hypervisor_type": "xen"}, False),
        ({"id": "web", "vm_config": {"memory": "1G"}}, False),
        ({"id": "web", "containers": [container()]}, True),
        ({"id": "web", "containers": [container(id="")]}, False),
        ({"id": "web", "containers": [container(cmd={"args": ["x"], "envs": ["A=b"]})]}, True),
        ({"id": "web", "containers": [container(cmd={"args": ["x"], "envs": ["A"]})]}, False),
        (
            {
                "id": "web",
                "containers": [container(cmd={"args": ["x"], "envs": [{"var": "A"}]})],
            },
            True,
        ),
        ({"id": "web", "containers": [container(mounts=[{}])]}, False),
        ({"id": "web", "annotations": {"a": 1}}, False),
    ],
)
def test_it_accepts_and_refuses_as_the_parser_does(document: dict[str, Any], fits: bool, tmp_path):
    import json

    assert VALIDATOR.is_valid(document) is fits
    try:
        parse_pod(
            json.dumps(document), Format.JSON, source="web.json", base_dir=tmp_path, defaults={}
        )
        parsed = True
    except InvalidInput:
        parsed = False
    assert parsed is fits


def test_keys_are_described_by_their_docstrings():
    schema = pod_schema()
    cmd = schema["$defs"]["Cmd"]["properties"]
    assert cmd["user"]["description"].startswith("Name or number, also `USER:GROUP`")
    assert schema["description"] == docstrings.of(PodConfig)
    structures = {
        name: part for name, part in schema["$defs"].items() if part.get("type") == "object"
    }
    assert [name for name, part in structures.items() if not part.get("description")] == []


def test_a_structure_without_source_has_no_docstrings_of_fields():
    assert docstrings.of_fields(int) == {}
