"""The library has the names of the virtcontainers 1.0 API, and docs/api.md is honest about it."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

from tests.architecture.test_generated import generator

ROOT = Path(__file__).parents[2]
GENERATOR = generator("gen_api")
NAMES = list(GENERATOR.names())


@functools.cache
def functions_of(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in tree.body if isinstance(node, kinds)}


@pytest.mark.parametrize(
    ("section", "owner", "name", "test"), NAMES, ids=[f"{one[1]}.{one[2]}" for one in NAMES]
)
def test_each_name_of_the_api_is_here_and_shown_or_said_to_be_missing(
    section: str, owner: str, name: str, test: str
) -> None:
    here = GENERATOR.find(section, owner, name)
    if not test:
        assert not here, f"{here} is here now; name the test that shows it in tests/data/api.toml"
        return
    assert here, f"the library lacks {owner}.{name}, which {test} is to show"
    file, _, function = test.partition("::")
    assert function in functions_of(file), f"{test} does not exist"


def test_the_page_is_what_make_gen_makes() -> None:
    assert GENERATOR.TARGET.read_text() == GENERATOR.page()


def test_names_are_spelt_as_python_does() -> None:
    spelt = {"VMConfig": "vm_config", "GetPid": "get_pid", "ID": "id", "RootFs": "rootfs"}
    assert {name: GENERATOR.snake(name) for name in spelt} == spelt
