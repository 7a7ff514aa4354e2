"""Who serves a machine's vsock device: the host's kernel, or a program of ours (companions/vsock).

The kernel is given the machine's context id before QEMU starts, so that nobody takes it meanwhile.
The program is connected with QEMU from the start and ends with it, so that neither waits for the
other and none is left.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from typing import Final

import msgspec

from vctui.drivers.hypervisors.base import MachinePlan
from vctui.linux import process, sockets, vsock
from vctui.linux.problems import host_problem
from vctui.model.kinds import SocketType

SOCKET: Final = "vsock.sock"
"""The hybrid socket, in the pod's folder."""
LOG: Final = "vsock.log"
_THRIFT: Final = {"MALLOC_ARENA_MAX": "1"}


class Vsock(msgspec.Struct, frozen=True):
    descriptor: int
    """For QEMU: of the kernel's device, or a connection with the program that serves."""
    cid: int = 0
    """By the host's kernel; 0 where a program serves."""
    url: str = ""
    """As Machine.vsock."""
    story: str = ""
    """Who serves it, and why, in words."""


@contextlib.contextmanager
def opened(plan: MachinePlan) -> Iterator[Vsock | None]:
    """The device of a plan that has one; descriptors are open within the block. A program that
    serves ends when QEMU, or where none was started the block, has let go of it.

    Raises:
        HostProblem: the host's kernel has no context id free, or the program cannot be started.
    """
    if not plan.socket_type.is_vsock:
        yield None
        return
    serve = _by_kernel if _serves_kernel(plan) else _by_program
    try:
        device = serve(plan)
    except OSError as error:
        raise host_problem(error, f"give pod {plan.pod_id!r} a vsock device") from error
    try:
        yield device
    finally:
        os.close(device.descriptor)


def _serves_kernel(plan: MachinePlan) -> bool:
    return plan.socket_type is SocketType.VSOCK and not vsock.problem()


def _by_kernel(_plan: MachinePlan) -> Vsock:
    guest = vsock.allocate()
    return Vsock(
        descriptor=guest.descriptor,
        cid=guest.cid,
        url=f"vsock://{guest.cid}",
        story=f"vsock by the host's kernel, as guest {guest.cid}",
    )


def _by_program(plan: MachinePlan) -> Vsock:
    path = plan.run_dir / SOCKET
    listening = sockets.listen(path, backlog=64)
    ours, theirs = socket.socketpair()
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
    log = os.open(plan.run_dir / LOG, flags, 0o600)
    argv = (
        *(sys.executable, "-P", "-m", "vctui.companions.vsock"),
        *("--socket", str(path)),
        *("--vhost-fd", str(theirs.fileno())),
        *("--listen-fd", str(listening.fileno())),
    )
    try:
        process.spawn_detached(
            argv,
            stderr=log,
            env={**os.environ, **_THRIFT},
            pass_fds=(theirs.fileno(), listening.fileno()),
        )
        why = vsock.problem() if plan.socket_type is SocketType.VSOCK else ""
        story = f"vsock by vctui{f', as {why}' if why else ''}"
        return Vsock(descriptor=ours.detach(), url=f"hvsock://{path}", story=story)
    finally:
        os.close(log)
        for each in (listening, ours, theirs):
            each.close()
