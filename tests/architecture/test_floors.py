"""The floors hold: what may import what, and which foreign library has which door."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
DOORS = {
    "asyncinotify": ("vctui.linux",),
    "click": ("vctui.cli",),
    "ctypes": ("vctui.linux",),
    "fcntl": ("vctui.linux",),
    "grpc": ("vctui.drivers.grpc_client",),
    "h2": ("vctui.guest.grpc",),
    "pyroute2": ("vctui.linux",),
    "qemu": ("vctui.drivers.hypervisors.qemu",),
    "sqlite3": ("vctui.store",),
    "subprocess": ("vctui.linux",),
    "termios": ("vctui.linux", "vctui.cli.rawtty", "vctui.guest"),
    "textual": ("vctui.tui",),
    "yaml": ("vctui.wire.yamltext",),
    "zstandard": ("vctui.images", "vctui.image.kernel"),
}
"""Foreign library → the packages that may import it; nobody else."""

HOST_FACTS = {
    "vctui.drivers.endpoints.scan",
    "vctui.drivers.hypervisors.qemu.accel",
    "vctui.drivers.hypervisors.qemu.program",
    "vctui.drivers.networks.catalog",
    "vctui.drivers.networks.plugins",
}
"""What this host's QEMU can do, which networks it has, and what is in a network namespace, is asked
by name, not for a pod."""

PURE = ("vctui.errors", "vctui.model", "vctui.present", "vctui.wire")
IMPURE_LIBRARIES = ("asyncio", "socket", "subprocess", "textual", "threading")

GUEST_MAY_SEE = ("vctui.errors", "vctui.guest", "vctui.linux", "vctui.wire")
GUEST_MODULES = {"h2"}
"""From packages beside Python's own (image/recipe.py), for a face that most guests do not show."""
GUEST_LIBRARIES = frozenset(sys.stdlib_module_names) - {"asyncio", "dataclasses", "enum"}

HEAVY = ("google.protobuf", "grpc", "psutil", "pyroute2", "qemu.qmp", "textual", "rich")


@pytest.fixture(scope="session")
def graph() -> grimp.ImportGraph:
    graph = grimp.build_graph("vctui", include_external_packages=True, cache_dir=None)
    for public in graph.find_modules_directly_imported_by("vctui"):
        graph.remove_import(importer="vctui", imported=public)  # names for type checkers
    return graph


def within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def ours(graph: grimp.ImportGraph) -> set[str]:
    return {module for module in graph.modules if within(module, ("vctui",))}


def test_imports_go_down_the_floors() -> None:
    lint = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert lint.returncode == 0, lint.stdout + lint.stderr


@pytest.mark.parametrize("library", sorted(DOORS))
def test_each_foreign_library_has_one_door(graph: grimp.ImportGraph, library: str) -> None:
    if library not in graph.modules:
        return
    users = graph.find_modules_that_directly_import(library)
    strangers = sorted(user for user in users if not within(user, DOORS[library]))
    assert not strangers, f"{library} is imported by {strangers}"


def test_pure_modules_do_no_io(graph: grimp.ImportGraph) -> None:
    for library in IMPURE_LIBRARIES:
        if library in graph.modules:
            users = graph.find_modules_that_directly_import(library)
            impure = sorted(user for user in users if within(user, PURE))
            assert not impure, f"{library} is imported by {impure}"


def test_driver_families_meet_only_through_their_bases(graph: grimp.ImportGraph) -> None:
    families = [path.name for path in (ROOT / "vctui" / "drivers").iterdir() if path.is_dir()]

    def family(module: str) -> str:
        """ "" for what the families share: the connections beside them."""
        parts = module.split(".")
        inside = parts[:2] == ["vctui", "drivers"] and len(parts) > 2 and parts[2] in families
        return parts[2] if inside else ""

    wrong = [
        (module, imported)
        for module in sorted(ours(graph))
        for imported in sorted(graph.find_modules_directly_imported_by(module))
        if family(module)
        and family(imported)
        and family(module) != family(imported)
        and imported.split(".")[-1] != "base"
    ]
    assert not wrong


def test_only_the_registry_names_concrete_drivers(graph: grimp.ImportGraph) -> None:
    """The engine takes drivers from the registry and knows them by their promises."""
    for module in sorted(ours(graph)):
        if not within(module, ("vctui.engine", "vctui.cli", "vctui.tui", "vctui.present")):
            continue
        if module == "vctui.engine.registry":
            continue
        drivers = {
            imported
            for imported in graph.find_modules_directly_imported_by(module)
            if within(imported, ("vctui.drivers",))
            and imported.split(".")[2] not in {"connections", "devices", "storage"}
            and imported.split(".")[-1] != "base"
            and imported not in HOST_FACTS
        }
        assert not drivers, f"{module} imports {sorted(drivers)}"


def test_the_guest_sees_only_what_is_shipped_into_it() -> None:
    graph = grimp.build_graph(
        "vctui",
        include_external_packages=True,
        exclude_type_checking_imports=True,
        cache_dir=None,
    )
    entry = "vctui.guest.__main__"
    seen = {entry, *graph.find_upstream_modules(entry)}
    foreign = {module for module in seen if not within(module, ("vctui",))}
    packages = {module for module in seen - foreign if module != "vctui"}
    assert sorted(one for one in packages if not within(one, GUEST_MAY_SEE)) == []
    assert sorted(one for one in foreign if one not in GUEST_LIBRARIES | GUEST_MODULES) == []


def test_no_program_loads_google_protobuf() -> None:
    graph = grimp.build_graph(
        "vctui",
        include_external_packages=True,
        exclude_type_checking_imports=True,
        cache_dir=None,
    )
    generated = {f"vctui.wire.pb.{file.stem}" for file in (ROOT / "vctui/wire/pb").glob("*_pb2.py")}
    assert graph.find_modules_that_directly_import("google") == generated
    users = {user for one in generated for user in graph.find_modules_that_directly_import(one)}
    assert users <= generated


def test_only_linux_starts_programs_on_the_host() -> None:
    starters = {"create_subprocess_exec", "create_subprocess_shell", "fork", "posix_spawn"}
    guilty = []
    for file in sorted((ROOT / "vctui").rglob("*.py")):
        if file.relative_to(ROOT / "vctui").parts[0] in {"linux", "guest"}:
            continue
        guilty += [
            f"{file.relative_to(ROOT)}:{node.lineno}"
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Attribute) and node.attr in starters
        ]
    assert not guilty


def loaded_by(*argv: str, tmp_path: Path) -> set[str]:
    """The modules that a command line leaves in sys.modules."""
    code = (
        "import sys; from vctui.cli.main import run; status = run(sys.argv[1:]); "
        "sys.stdout.flush(); print(*sys.modules, file=sys.stderr); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *argv],
        env={
            **os.environ,
            "VCTUI_RUN_DIR": str(tmp_path / "run"),
            "VCTUI_STATE_DIR": str(tmp_path / "state"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("words", [("pod", "list"), ("--json", "pod", "list"), ("events",)])
def test_lists_load_nothing_heavy(words: tuple[str, ...], tmp_path: Path) -> None:
    loaded = loaded_by(*words, tmp_path=tmp_path)
    assert sorted(module for module in HEAVY if module in loaded) == []


def test_help_loads_neither_the_engine_nor_asyncio(tmp_path: Path) -> None:
    loaded = loaded_by("--help", tmp_path=tmp_path)
    assert sorted(loaded & {"asyncio", "msgspec", "vctui.engine.runtime", *HEAVY}) == []


def test_importing_the_package_loads_none_of_its_parts() -> None:
    code = "import sys, vctui; print(*(m for m in sys.modules if m.startswith('vctui.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_session_with_qemu_does_without_openssl() -> None:
    code = (
        "import sys; from vctui.linux import lean\n"
        "with lean.without('ssl'): import asyncio\n"
        "import vctui.drivers.hypervisors.qemu.qmp; print('ssl' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
