"""What the kernel said → a sentence for an operator."""

from __future__ import annotations

import errno
import os

from vctui.errors import DiskFull, HostProblem, PermissionProblem


def host_problem(error: OSError, doing: str, *, remedy: str = "") -> HostProblem:
    """The error to raise for a failed system call.

    Args:
        doing: what was tried, with its object: "write /var/lib/vctui/doorbell".
        remedy: what to do, where that is known better here than from the error's number.
    """
    number = error.errno or 0
    why = os.strerror(number) if number else str(error)
    if number in {errno.ENOSPC, errno.EDQUOT}:
        return DiskFull(f"cannot {doing}: {why}; {remedy or 'make room and try again'}")
    if number in {errno.EPERM, errno.EACCES, errno.EROFS}:
        advice = remedy or "run vctui as root, or with folders of your own"
        return PermissionProblem(f"cannot {doing}: {why}; {advice}")
    return HostProblem(f"cannot {doing}: {why}" + (f"; {remedy}" if remedy else ""))
