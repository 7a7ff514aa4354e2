"""Which QEMU is there and what it was built with; asked once for each version of it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

import msgspec

from vctui.errors import HypervisorError, MissingProgram
from vctui.linux import files, probe, process

INSTALL: Final = "apt-get install qemu-system-x86"
_PATIENCE: Final = 20.0


class Program(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    stamp: int
    """When the file was changed (ns), so that an upgrade is noticed."""
    version: str
    sandbox: bool
    """Built with seccomp."""
    nine_p: bool
    """Has virtio-9p."""


def find(name: str) -> Path:
    """Raises MissingProgram, with the command that installs it."""
    found = probe.find_program(name)
    if found is None:
        raise MissingProgram(f"QEMU ({name}) is not installed; run `{INSTALL}`")
    return found


async def examine(path: Path, *, state_dir: Path) -> Program:
    """What this QEMU can do, from an earlier look where it has not changed since.

    Raises:
        HypervisorError: it cannot even tell its version.
    """
    memory = state_dir / "qemu.json"
    stamp = path.stat().st_mtime_ns  # noqa: ASYNC240 - of one local file
    known = _remembered(memory)
    if known is not None and (known.path, known.stamp) == (str(path), stamp):
        return known
    version = await _ask(path, "-version")
    sandbox = await process.run((path, "-sandbox", "on", "-version"), timeout=_PATIENCE)
    devices = await _ask(path, "-device", "help")
    program = Program(
        path=str(path),
        stamp=stamp,
        version=version.partition("\n")[0].removeprefix("QEMU emulator version ").strip(),
        sandbox=sandbox.returncode == 0,
        nine_p='"virtio-9p-pci"' in devices,
    )
    with contextlib.suppress(OSError):  # a folder that cannot be written to: it is asked again
        files.write_atomic(memory, msgspec.json.encode(program))
    return program


def _remembered(memory: Path) -> Program | None:
    try:
        return msgspec.json.decode(memory.read_bytes(), type=Program)
    except (OSError, msgspec.MsgspecError):
        return None


async def _ask(path: Path, *arguments: str) -> str:
    try:
        answer = await process.run((path, *arguments), timeout=_PATIENCE)
    except (OSError, TimeoutError) as error:
        raise HypervisorError(
            f"cannot run {path}: {error or 'no answer'}; run `{INSTALL}`"
        ) from error
    if answer.returncode != 0:
        said = answer.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise HypervisorError(f"{path} does not work ({said}); run `{INSTALL}`")
    return answer.stdout.decode(errors="replace")
