"""One change of a pod at a time: lock, settle, mark, do, and clear or undo the mark."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

import msgspec

from vctui.engine import recovery
from vctui.engine.context import Context, event, now
from vctui.errors import NotFound, VctuiError
from vctui.linux import locks
from vctui.model.events import EventKind
from vctui.model.pod import PodRecord
from vctui.model.state import LIVE, State
from vctui.store.base import Transaction


@contextlib.asynccontextmanager
async def exclusive(ctx: Context, pod_id: str) -> AsyncIterator[PodRecord]:
    """Hold a pod alone, in a state without left-overs. Raises NotFound."""
    ctx.store.pod(pod_id)
    lock = ctx.paths(pod_id).lock
    async with locks.exclusive(lock):
        try:
            yield await recovery.settle(ctx, pod_id)
        except NotFound:
            if pod_id not in ctx.store.pod_ids():
                lock.unlink(missing_ok=True)
            raise


@contextlib.asynccontextmanager
async def shared(ctx: Context, pod_id: str) -> AsyncIterator[PodRecord]:
    """Use a pod's machine beside others who do; nobody changes the pod meanwhile."""
    record = ctx.store.pod(pod_id)
    if recovery.needs_settling(ctx, record) and not ctx.read_only:
        async with exclusive(ctx, pod_id):
            pass
    async with locks.shared(ctx.paths(pod_id).lock):
        yield ctx.store.pod(pod_id)


@contextlib.asynccontextmanager
async def change(
    ctx: Context, pod_id: str, verb: str, check: Callable[[PodRecord], None], *, container: str = ""
) -> AsyncIterator[PodRecord]:
    """Change a pod, or one container of it.

    The verb stands in the record while the block runs, so that whoever comes after a crash
    knows what was half done. The block's last transaction takes it away (`done`).
    Where the block fails, the record is put back as it was and the failure noted.
    """
    async with exclusive(ctx, pod_id) as before:
        check(before)
        operation = f"{verb} {container}".strip()
        with ctx.store.transaction() as tx:
            tx.save_pod(msgspec.structs.replace(before, operation=operation))
        try:
            yield before
        except BaseException as error:
            with ctx.store.transaction() as tx:
                _put_back(tx, before, container)
                what = (
                    f"{verb} failed: {error}"
                    if isinstance(error, VctuiError)
                    else (f"{verb} was interrupted")
                )
                tx.emit(event(EventKind.FAILED, pod_id, what, container))
            raise


def _put_back(tx: Transaction, before: PodRecord, container: str) -> None:
    try:
        current = tx.pod(before.id)
    except NotFound:
        return
    if before.state in LIVE and current.state is State.STOPPED:
        _keep_stopped(tx, current)
        return
    if container:
        tx.save_pod(msgspec.structs.replace(current, operation=""))
        kept = [record for record in before.containers if record.id == container]
    else:
        # a network that could not be left is still to be
        tx.save_pod(msgspec.structs.replace(before, operation="", network=current.network))
        kept = list(before.containers)
    known = {record.id: record for record in current.containers}
    for record in kept:
        if record.id in known:
            # what is in the machine is there, whatever failed
            devices = known[record.id].devices if container else record.devices
            tx.save_container(before.id, msgspec.structs.replace(record, devices=devices))


def _keep_stopped(tx: Transaction, current: PodRecord) -> None:
    """A machine that was switched off already does not run again by being recorded so."""
    tx.save_pod(recovery.switched_off(current, reason=current.reason))
    for one in current.containers:
        if one.state is not State.STOPPED:
            tx.save_container(
                current.id, msgspec.structs.replace(one, state=State.STOPPED, finished=now())
            )
