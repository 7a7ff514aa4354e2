"""virtio-fs: a virtiofsd for each folder that a guest is shown.

    <run>/share<n>.sock       where the machine connects to it
    <run>/share<n>            a link to the folder: so the pod's folder stands in its arguments
    <run>/virtiofsd<n>.log    what it complained of

Two programs have that name, and take different words: QEMU's own, in C, which came with QEMU until
version 7, and the one in Rust that took its place. Which one is there, it is asked.

In its sandbox the program sees the folder and nothing else of the host, by mounts of its own. What
is mounted in the pod's share later reaches it because the share is a mount that propagates
(`share.make_share`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace

from vctui.drivers.hypervisors.base import Share
from vctui.errors import HostProblem, MissingProgram, PermissionProblem
from vctui.linux import files, probe, process
from vctui.linux import sockets as unix
from vctui.linux.problems import host_problem
from vctui.model.hypervisor import Daemon

INSTALL: Final = "`apt-get install virtiofsd`, on Debian 12 `apt-get install qemu-system-common`"
"""A phrase, as releases differ."""
_PLACES: Final = ("/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd", "virtiofsd")
"""Where Debian 13 and 12 have it, and others."""
_OF_QEMU: Final = re.compile(r"virtiofsd version (\S+)")
_IN_RUST: Final = re.compile(r"virtiofsd(?: backend)? v?(\d\S*)")
_NAMESPACE: Final = "namespace"
_TRY_NAMESPACES: Final = ("unshare", "--user", "--map-root-user", "--mount", "--net", "true")
_PATIENCE: Final = 10.0
_OPEN_FILES: Final = 1_000_000
"""It keeps one for each file that the guest remembers."""
_LAST_WORDS: Final = 3


class Program(msgspec.Struct, frozen=True):
    path: Path
    version: str
    of_qemu: bool
    """The one in C."""
    sandbox: str
    """`namespace`, or `none` for a user who may not make namespaces."""

    def argv(self, folder: str, listening: int) -> tuple[str, ...]:
        """
        Args:
            folder: that it serves.
            listening: descriptor of a listening socket.
        """
        words = {"sandbox": self.sandbox, "cache": "auto", "announce_submounts": "", "xattr": ""}
        limit = f"--rlimit-nofile={min(_OPEN_FILES, probe.open_files())}"
        if self.of_qemu:
            given = {"source": _escaped(folder), **words, "log_level": "warn"}
            options = [f"-o{key}={value}" if value else f"-o{key}" for key, value in given.items()]
            return (str(self.path), f"--fd={listening}", limit, *options)
        given = {"shared-dir": folder, **words, "log-level": "warn"}
        options = [
            f"--{key.replace('_', '-')}" + (f"={value}" if value else "")
            for key, value in given.items()
        ]
        return (str(self.path), f"--fd={listening}", limit, *options)


def find(named: str) -> Path:
    """The program; `named` is its path or name, "" where packages have it.

    Raises:
        MissingProgram: with the command that installs it.
    """
    for place in (named,) if named else _PLACES:
        if found := probe.find_program(place):
            return found
    raise MissingProgram(
        f"virtio-fs needs virtiofsd ({named or 'qemu.virtiofsd in config.toml'}), which is not "
        f"installed; run {INSTALL}, or set hypervisor_config.shared_fs to 9p"
    )


async def examine(path: Path) -> Program:
    """
    Raises:
        HostProblem: it does not say that it is one.
    """
    try:
        answer = await process.run((path, "--version"), timeout=_PATIENCE, keep=4096)
        said = answer.stdout.decode(errors="replace")
    except (OSError, TimeoutError) as error:
        raise HostProblem(
            f"cannot run {path} (qemu.virtiofsd): {error or 'no answer'}; name another virtiofsd"
        ) from error
    if of_qemu := _OF_QEMU.match(said):
        return Program(path, of_qemu[1], of_qemu=True, sandbox=_NAMESPACE)
    if in_rust := _IN_RUST.match(said):
        sandbox = _NAMESPACE if await _may_use_namespaces() else "none"
        return Program(path, in_rust[1], of_qemu=False, sandbox=sandbox)
    raise HostProblem(
        f"{path} (qemu.virtiofsd) does not say that it is a virtiofsd; name one in config.toml"
    )


async def _may_use_namespaces() -> bool:
    if probe.is_root():
        return True
    try:
        made = await process.run(_TRY_NAMESPACES, timeout=_PATIENCE, keep=4096)
    except (OSError, TimeoutError):
        return False
    return made.returncode == 0


def check(program: Program) -> None:
    """
    Raises:
        PermissionProblem: it does not run as who we are.
    """
    if program.of_qemu and not probe.is_root():
        raise PermissionProblem(
            f"{program.path}, QEMU's virtiofsd, runs as root only; run vctui as root, name a "
            "virtiofsd of version 1 or later as qemu.virtiofsd, or set "
            "hypervisor_config.shared_fs to 9p"
        )


def sockets(shares: Sequence[Share], run_dir: Path) -> tuple[Share, ...]:
    """The shares as ones that programs serve."""
    return tuple(
        replace(share, socket=run_dir / f"share{number}.sock")
        for number, share in enumerate(shares)
    )


def serve(shares: Sequence[Share], program: Program) -> tuple[Daemon, ...]:
    """Start the programs; connections are taken on return. They end with their only one.

    Whoever made the folder of their sockets ends them, also where this fails in between.

    Raises:
        HostProblem: one cannot be started.
    """
    daemons = []
    for number, share in enumerate(shares):
        if share.socket is None:
            continue
        log = log_file(share.socket.parent, number)
        try:
            spawned = _spawn(share.path, share.socket, log, program)
        except OSError as error:
            raise host_problem(error, f"start {program.path} for {share.path}") from error
        daemons.append(Daemon(tag=share.tag, pid=spawned.pid, started=spawned.started))
    return tuple(daemons)


def last_words(run_dir: Path, daemons: Sequence[Daemon]) -> str:
    """What those that have ended complained of, for an error's note; "" where all live."""
    said = []
    for number, one in enumerate(daemons):
        if not process.is_alive(one.pid, one.started):
            lines = files.tail(log_file(run_dir, number), _LAST_WORDS)
            words = "; ".join(line.decode(errors="replace").strip()[:300] for line in lines)
            said.append(f"virtiofsd for {one.tag!r} ended: {words or 'it said nothing'}")
    return " / ".join(said)


def log_file(run_dir: Path, number: int) -> Path:
    """Of the program for a machine's n-th share."""
    return run_dir / f"virtiofsd{number}.log"


def _spawn(folder: Path, socket: Path, log: Path, program: Program) -> process.Spawned:
    link = socket.with_suffix("")
    link.unlink(missing_ok=True)
    link.symlink_to(folder)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
    said = os.open(log, flags, 0o600)
    try:
        with unix.listen(socket) as server:
            server.setblocking(True)  # it waits in accept(2)
            # as `link/.` it is the folder, not the link
            argv = program.argv(f"{link}/.", server.fileno())
            environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
            return process.spawn_detached(
                argv, stdout=said, stderr=said, env=environment, pass_fds=(server.fileno(),)
            )
    finally:
        os.close(said)


def _escaped(value: str) -> str:
    r"""In `-o` a comma ends a value, unless a `\` stands before it."""
    return value.replace("\\", "\\\\").replace(",", "\\,")
