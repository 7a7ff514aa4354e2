"""The guest's Python: our agent and every module that it imports, compiled for the image.

The guest's own interpreter, unpacked from its package, runs on the host to find and to compile
them: so they fit its version, whatever version vctui itself runs on.
"""

from __future__ import annotations

import ast
import hashlib
import io
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import vctui
from vctui.errors import GuestBuildFailed
from vctui.image import cpio, recipe, unpacked
from vctui.image.threads import to_the_end
from vctui.linux import process

_COLLECT = Path(__file__).with_name("collect.py")
PACKAGE_FOLDER = Path(vctui.__file__).parent

_START = f"""\
import os, sys, time
began = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
os.chroot(".")
os.chdir("/")
sys.path.append("/{recipe.LATER_MODULES}")
from {recipe.ENTRY} import main
main(began)
"""
"""A file of its own: for the code of `-c`, Python 3.13 imports what its tracebacks might need."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The guest's Python, in the folder into which its packages were unpacked."""

    root: Path
    version: str
    """`3.11`."""

    @property
    def program(self) -> str:
        return f"usr/bin/python{self.version}"

    @property
    def library(self) -> str:
        """Where it looks for modules first."""
        return f"usr/lib/python{self.version}"

    def command(self, *arguments: str) -> tuple[str, ...]:
        """How it runs on the host, with the libraries of its own distribution."""
        folders = (recipe.LIBRARY_FOLDER, recipe.LIBRARY_FOLDER.removeprefix("usr/"))
        return (
            *(str(unpacked.find_file(self.root, recipe.LOADER)), "--library-path"),
            ":".join(str(self.root / folder) for folder in folders),
            *(str(self.root / self.program), "-I", "-S", "-B"),
            *arguments,
        )


@dataclass(frozen=True, slots=True)
class Sources:
    """Our own modules that go into the image, as they were at one moment."""

    files: Mapping[str, bytes]
    """Contents by path below the package: `guest/loop.py`."""
    modules: tuple[str, ...]
    """Their names: `vctui.guest.loop`."""
    foreign: tuple[str, ...]
    """The modules of the standard library that they import, lazily or not."""

    def digests(self) -> dict[str, str]:
        """SHA-256 of each file, by its path below the package."""
        return {path: hashlib.sha256(self.files[path]).hexdigest() for path in sorted(self.files)}


def sources(package: Path = PACKAGE_FOLDER) -> Sources:
    """Follow the imports of `vctui.guest`, also those inside functions, through our own modules."""
    files: dict[str, bytes] = {}
    foreign: set[str] = set()
    guest = (package / "guest").rglob("*.py")
    wanted = [".".join(file.relative_to(package.parent).with_suffix("").parts) for file in guest]
    wanted = [name.removesuffix(".__init__") for name in wanted]
    seen: set[str] = set()
    while wanted:
        name = wanted.pop()
        file = _file_of(name, package)
        if name in seen or file is None:
            continue
        seen.add(name)
        content = files[str(file.relative_to(package))] = file.read_bytes()
        if name == package.name:
            continue  # its lazy names are the host's
        wanted.append(name.rpartition(".")[0])
        for imported in imports(ast.parse(content), name):
            if imported.partition(".")[0] == package.name:
                wanted.append(imported)
            else:
                foreign.add(imported)
    return Sources(files, tuple(sorted(seen)), tuple(sorted(foreign - {"__future__"})))


def imports(tree: ast.AST, name: str) -> Iterator[str]:
    """The modules that a module's code names in imports, those for type checkers left out.

    `from a import b` gives `a` and, as `b` may be a module, `a.b` where `a` is ours.
    """
    ours = name.partition(".")[0]
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for other in node.orelse:
                yield from imports(ast.Module([other], []), name)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            if node.module.partition(".")[0] == ours:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from imports(node, name)


async def collect(interpreter: Interpreter, ours: Sources) -> dict[str, cpio.Node]:
    """Our modules and all that they import, as files of the image.

    What the agent imports to start is quickest found as files of a folder. What may come later
    is mostly never used and so goes into an archive: unpacking it at boot would cost more.

    Raises:
        GuestBuildFailed: the agent imports what is not there for the guest's Python.
    """
    with tempfile.TemporaryDirectory(dir=interpreter.root) as name:
        draft = Path(name)
        await to_the_end(partial(_copy, ours, draft))
        first, later = await _find(interpreter, ours, draft)
        first["os"] = interpreter.root / interpreter.library / "os.py"  # marks the library
        return await _pack(interpreter, first, later, draft)


def _copy(ours: Sources, folder: Path) -> None:
    """Just what goes into the image, so that nothing else can be imported by mistake."""
    for path, content in ours.files.items():
        copy = folder / PACKAGE_FOLDER.name / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)
    (folder / PACKAGE_FOLDER.name / "__init__.py").write_bytes(b"")  # its names are the host's


async def _find(
    interpreter: Interpreter, ours: Sources, folder: Path
) -> tuple[dict[str, Path], dict[str, Path]]:
    """Files by module name: of what the agent imports at once, and of what it may import later."""
    others = (*ours.modules, *ours.foreign, *recipe.EXTRA_PYTHON_MODULES)
    folders = f"{folder}:{interpreter.root / recipe.PYTHON_MODULE_FOLDER}"
    command = interpreter.command(str(_COLLECT), "import", folders, recipe.ENTRY, *others)
    listing = await _run(command, "import the agent")
    first, later = (
        {name: Path(file) for name, file in (line.split("\t") for line in part.splitlines())}
        for part in listing.split("\n\n")
    )
    return first, later


async def _pack(
    interpreter: Interpreter, first: Mapping[str, Path], later: Mapping[str, Path], draft: Path
) -> dict[str, cpio.Node]:
    at_once = {name.partition(".")[0] for name in first}
    files: dict[str, Path] = {}
    archived: dict[str, Path] = {}
    for module, origin in {**later, **first}.items():
        path = path_in_image(module, origin)
        apart = _is_code(path) and module.partition(".")[0] not in at_once
        (archived if apart else files)[path] = origin
    start = draft / "start.py"
    start.write_text(_START, encoding="ascii")
    contents = await _compile(interpreter, {**files, **archived, recipe.START: start}, draft)
    tree = {f"{interpreter.library}/{path}": cpio.file(contents[path]) for path in files}
    tree[recipe.START] = cpio.file(contents[recipe.START])
    tree[recipe.LATER_MODULES] = cpio.file(archive({path: contents[path] for path in archived}))
    return tree


async def _compile(
    interpreter: Interpreter, files: Mapping[str, Path], draft: Path
) -> dict[str, bytes]:
    """Contents by path: sources compiled, extension modules as they are."""
    compiled = {path: draft / str(index) for index, path in enumerate(files) if _is_code(path)}
    lines = [f"{files[path]}\t{compiled[path]}\t{path.removesuffix('c')}\n" for path in compiled]
    command = interpreter.command(str(_COLLECT), "compile")
    await _run(command, "compile the agent", stdin="".join(lines).encode())
    return {path: compiled.get(path, origin).read_bytes() for path, origin in files.items()}


def _is_code(path: str) -> bool:
    return path.endswith(".pyc")


def archive(files: Mapping[str, bytes]) -> bytes:
    """A zip archive that Python imports from; the same files give the same bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as opened:
        for path in sorted(files):
            opened.writestr(zipfile.ZipInfo(path), files[path], zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def _file_of(name: str, package: Path) -> Path | None:
    base = package.parent.joinpath(*name.split("."))
    candidates = (base / "__init__.py", base.with_name(f"{base.name}.py"))
    return next((file for file in candidates if file.is_file()), None)


def path_in_image(module: str, origin: Path) -> str:
    """Where a module's file goes, below the folder that Python searches first."""
    *parents, name = module.split(".")
    if origin.suffix != ".py":
        return f"lib-dynload/{origin.name}"
    if origin.name == "__init__.py":
        return "/".join((*parents, name, "__init__.pyc"))
    return "/".join((*parents, f"{name}.pyc"))


async def _run(command: Sequence[str], what: str, *, stdin: bytes = b"") -> str:
    done = await process.run(command, stdin=stdin, env={})
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise GuestBuildFailed(
            f"the guest's Python could not {what}: "
            f"{said[-1] if said else f'it ended with {done.returncode}'}; reinstall vctui"
        )
    return done.stdout.decode("utf-8", "replace")
