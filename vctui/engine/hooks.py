"""When hooks run, with what state, for how long (behaviour sheet §8.1).

The OCI runtime specification says what a hook gets on its standard input: the state of the
pod as JSON. Unlike the original, a hook that takes too long is killed with its children.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from vctui.engine.context import Context
from vctui.errors import HookFailed
from vctui.linux import process
from vctui.model.events import EventKind
from vctui.model.hook import Hook
from vctui.model.pod import PodRecord
from vctui.wire.oci import BUNDLE_PATH

OCI_VERSION: Final = "1.0.2"
_KEPT: Final = 64 * 1024
"""Bytes of a hook's output that are kept, of each stream."""
_SHOWN: Final = 300


class Phase(StrEnum):
    """The turns of a pod's life at which hooks run; the value is the pod file's key."""

    PRE_START = "pre_start"
    POST_START = "post_start"
    POST_STOP = "post_stop"


_STATUS: Final = {
    Phase.PRE_START: "creating",
    Phase.POST_START: "running",
    Phase.POST_STOP: "stopped",
}
"""OCI status of the pod when the hooks run."""


async def run(ctx: Context, record: PodRecord, phase: Phase, *, netns: Path | None = None) -> None:
    """Run the hooks of a phase, one after another; in the pod's network namespace, if given.

    Raises:
        HookFailed: by the first that fails, before the start. Failures at the other turns become
            WARNING events, and the next hook runs.
    """
    with _occupant(netns) as pid:
        await _run_all(ctx, record, phase, netns, _state(ctx, record, phase, pid))


async def _run_all(
    ctx: Context, record: PodRecord, phase: Phase, netns: Path | None, state: bytes
) -> None:
    for number, hook in enumerate(_listed(record, phase)):
        what = f"hook hooks.{phase}[{number}] of pod {record.id!r}"
        try:
            if netns is None:
                await _run_one(hook, what, state)
            else:
                from vctui.linux.netns import session

                await session(netns, functools.partial(_run_one, hook, what, state))
        except HookFailed as error:
            if phase is Phase.PRE_START:
                raise
            ctx.note(EventKind.WARNING, record.id, str(error))


def _listed(record: PodRecord, phase: Phase) -> Sequence[Hook]:
    hooks: Sequence[Hook] = getattr(record.config.hooks, phase)
    return hooks


@contextlib.contextmanager
def _occupant(netns: Path | None) -> Iterator[int]:
    """A process in the namespace, which hooks are told of where the machine is to be."""
    if netns is None:
        yield os.getpid()
        return
    from vctui.linux.netns import occupied

    with occupied(netns) as pid:
        yield pid


def _state(ctx: Context, record: PodRecord, phase: Phase, pid: int) -> bytes:
    """OCI state. Its process is the machine; until there is one, `pid`, whose network the machine
    gets; none when the pod has stopped."""
    state: dict[str, object] = {
        "ociVersion": OCI_VERSION,
        "id": record.id,
        "status": _STATUS[phase],
        "bundle": record.config.annotations.get(BUNDLE_PATH) or str(ctx.paths(record.id).run),
        "annotations": record.config.annotations,
    }
    if phase is not Phase.POST_STOP:
        machine = record.machine.pid if record.machine else 0
        state["pid"] = machine or pid
    return msgspec.json.encode(state)


async def _run_one(hook: Hook, what: str, state: bytes) -> None:
    environment = dict(each.split("=", 1) for each in hook.env) or None
    try:
        done = await process.run(
            hook.args or (hook.path,),
            executable=hook.path,
            stdin=state,
            timeout=hook.timeout or None,
            env=environment,
            cwd="/",
            keep=_KEPT,
        )
    except OSError as error:
        if isinstance(error, TimeoutError):
            raise HookFailed(
                f"{what} ({hook.path}) was killed, as it took more than its {hook.timeout} s; "
                "give it a longer timeout, or look why it hangs"
            ) from error
        raise HookFailed(
            f"{what} cannot be run: {hook.path}: {error.strerror or error}; "
            "name a program of the host that can be executed"
        ) from error
    if done.returncode:
        status = done.returncode
        how = f"signal {-status}" if status < 0 else f"status {status}"
        raise HookFailed(
            f"{what} ({shlex.join(hook.args or (hook.path,))[:_SHOWN]}) ended with {how}; "
            f"{_said(done)}"
        )


def _said(done: process.Completed) -> str:
    """The end of what it wrote, standard error first: reasons stand last."""
    words = []
    for name, output in (("standard error", done.stderr), ("standard output", done.stdout)):
        text = " ".join(output.decode(errors="replace").split())
        if text:
            words.append(f"its {name} ends with: {text[-_SHOWN:]}")
    return "; ".join(words) or "it said nothing"
