"""What is generated or shipped is what it is made from."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

import vctui
from vctui.settings import Settings

ROOT = Path(__file__).parents[2]
PB = Path("vctui/wire/pb")


def test_protocol_modules_are_what_make_gen_makes(tmp_path: Path) -> None:
    protos = sorted(str(path.relative_to(ROOT)) for path in (ROOT / PB).glob("*.proto"))
    subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            "-I",
            ".",
            f"--python_out={tmp_path}",
            f"--pyi_out={tmp_path}",
            *protos,
        ],
        cwd=ROOT,
        check=True,
    )
    made = sorted((tmp_path / PB).iterdir())
    assert len(made) == 2 * len(protos)
    for file in made:
        assert file.read_text() == (ROOT / PB / file.name).read_text(), file.name


def generator(name: str) -> Any:
    """A script of .ci as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_guests_tables_are_what_make_gen_makes() -> None:
    assert (ROOT / PB / "tables.py").read_text() == generator("gen_tables").source()


def test_the_keys_in_the_readme_are_what_make_gen_makes() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "| `app.help` |" in readme
    assert readme == generator("gen_keys").page(readme)


def test_every_public_name_can_be_imported() -> None:
    for name in vctui.__all__:
        assert getattr(vctui, name) is not None
    assert set(vctui.__all__) - {"__version__"} == set(vctui._HOME_OF)


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = vctui.nothing


def test_shipped_configuration_lists_every_key_with_its_default() -> None:
    shipped = tomllib.loads((ROOT / "config.toml").read_text())
    assert msgspec.convert(shipped, Settings) == Settings()
    sections = msgspec.to_builtins(Settings())
    assert {name: set(keys) for name, keys in shipped.items()} == {
        name: set(keys) for name, keys in sections.items()
    }


def test_every_line_of_the_shipped_configuration_is_explained() -> None:
    for line in (ROOT / "config.toml").read_text().splitlines():
        if "=" in line and not line.startswith("#") and "animations" not in line:
            assert "#" in line, line
