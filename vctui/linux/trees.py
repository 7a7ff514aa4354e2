"""Folders with all that is below them: copied and removed, links never followed."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

from vctui.errors import DiskFull, HostProblem
from vctui.linux import mounts, process
from vctui.linux.files import draft_path
from vctui.linux.problems import host_problem


async def copy_tree(source: Path, target: Path) -> None:
    """Copy a folder with links, owners, times and modes; shares blocks where the disk can.

    `target` appears whole or not at all; its folder must exist, it must not.

    Raises:
        DiskFull, HostProblem: nothing is left at `target`.
    """
    draft = draft_path(target)
    try:
        argv = ("cp", "--archive", "--reflink=auto", "--no-target-directory", "--", source, draft)
        done = await process.run(argv, env={**os.environ, "LC_ALL": "C"})
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            why = said[-1] if said else f"cp ended with {done.returncode}"
            problem = DiskFull if os.strerror(errno.ENOSPC) in why else HostProblem
            raise problem(f"cannot copy {source} to {target}: {why}; see to it and try again")
        await asyncio.to_thread(draft.rename, target)
    except OSError as error:
        raise host_problem(error, f"copy {source} to {target}") from error
    finally:
        await asyncio.to_thread(remove_tree, draft)


def remove_tree(path: Path) -> None:
    """Remove a folder with all below it, or a file; links are removed, not followed. Idempotent.

    Raises:
        OSError: EBUSY where something is mounted below, then nothing is removed: it would be
            somebody else's files that go.
    """
    if below := mounts.mounts_below(path):
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), below[0])
    if path.is_dir() and not path.is_symlink():
        with suppress(FileNotFoundError):
            shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
