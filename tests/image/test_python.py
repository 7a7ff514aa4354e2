"""Which of our modules go into the guest, and that nothing of the host slips in."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.image import collect, python, recipe

_CODE = """
from __future__ import annotations
import os
TYPE_CHECKING = False
if TYPE_CHECKING:
    import typing
    from vctui.engine import api
else:
    import real
def later():
    from vctui.linux import netlink
    try:
        import one.two as two
    except ImportError:
        from three import four
"""


def test_imports_are_found_wherever_they_stand_but_for_type_checkers() -> None:
    found = set(python.imports(ast.parse(_CODE), "vctui.guest.x"))
    assert found == {
        *("__future__", "os", "real", "vctui.linux", "vctui.linux.netlink", "one.two", "three"),
    }


def test_the_agent_brings_only_what_may_run_in_a_guest() -> None:
    ours = python.sources()
    assert recipe.ENTRY in ours.modules
    allowed = ("vctui.guest", "vctui.wire", "vctui.linux", "vctui.errors")
    assert [n for n in ours.modules if n != "vctui" and not n.startswith(allowed)] == []
    foreign = {name.partition(".")[0] for name in ours.foreign}
    assert foreign - sys.stdlib_module_names == {"h2"}  # recipe.PYTHON_MODULE_PACKAGES
    assert not {"subprocess", "asyncio", "ctypes"} & set(ours.foreign)
    assert ours.digests().keys() == ours.files.keys() >= {"errors.py", "guest/__main__.py"}


def test_a_package_brings_its_parents_and_its_lazy_imports(tmp_path: Path) -> None:
    package = tmp_path / "vctui"
    for name, text in {
        "__init__.py": "import host_only",
        "guest/__init__.py": "",
        "guest/__main__.py": "def f():\n    from vctui.wire import codec",
        "wire/__init__.py": "",
        "wire/codec.py": "import struct, vctui.errors",
        "wire/unused.py": "import nothing",
        "errors.py": "",
    }.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    found = python.sources(package)
    assert set(found.modules) == {
        *("vctui", "vctui.guest", "vctui.guest.__main__"),
        *("vctui.wire", "vctui.wire.codec", "vctui.errors"),
    }
    assert found.files["wire/codec.py"] == b"import struct, vctui.errors"
    assert found.foreign == ("struct",)


def test_modules_are_listed_by_when_they_are_needed(tmp_path: Path) -> None:
    for name, text in {
        "entry": "import first",
        "first": "",
        "more": "import first, second",
        "second": "",
    }.items():
        (tmp_path / f"{name}.py").write_text(text)
    script = str(Path(collect.__file__))
    arguments = ["import", str(tmp_path), "entry", "more"]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", script, *arguments], capture_output=True, check=True
    )
    first, later = done.stdout.decode().split("\n\n")
    names = {line.partition("\t")[0] for line in first.splitlines()}
    assert {"entry", "first"} <= names
    assert not {"more", "second"} & names
    assert [line.partition("\t")[0] for line in later.splitlines()] == ["more", "second"]


def test_code_is_compiled_without_docstrings_and_runs(tmp_path: Path) -> None:
    source, target = tmp_path / "a.py", tmp_path / "a.pyc"
    source.write_text('"""Words."""\nassert False\nprint(__doc__, __file__)')
    collect.compile_all([f"{source}\t{target}\tshown.py\n"])
    done = subprocess.run([sys.executable, target], capture_output=True, check=True)
    assert done.stdout.startswith(b"None ")
    assert b"Words" not in target.read_bytes()
    assert target.read_bytes()[4:8] == b"\1\0\0\0"  # never checked against a source


@pytest.mark.parametrize(
    ("module", "origin", "path"),
    [
        ("os", "/l/os.py", "os.pyc"),
        ("json", "/l/json/__init__.py", "json/__init__.pyc"),
        ("json.decoder", "/l/json/decoder.py", "json/decoder.pyc"),
        ("_ctypes", "/l/lib-dynload/_ctypes.so", "lib-dynload/_ctypes.so"),
    ],
)
def test_files_go_where_python_looks_for_them(module: str, origin: str, path: str) -> None:
    assert python.path_in_image(module, Path(origin)) == path


@given(st.dictionaries(st.sampled_from(["a.pyc", "b/c.pyc", "d"]), st.binary()))
def test_an_archive_depends_on_its_contents_only(files: dict[str, bytes]) -> None:
    assert python.archive(files) == python.archive(dict(reversed(files.items())))
