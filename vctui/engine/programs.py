"""The external programs that a pod names, looked at before anything is made."""

from __future__ import annotations

import os
from pathlib import Path

from vctui.errors import FileProblem, HostProblem
from vctui.linux import sockets
from vctui.model import pairing
from vctui.model.pod import PodConfig


def check(config: PodConfig, run_dir: Path) -> None:
    """
    Raises:
        FileProblem: a path names no program.
        HostProblem: a socket's path is longer than a program of others can take.
    """
    for what, program in (("proxy", config.proxy_config), ("shim", config.shim_config)):
        path = Path(program.path)
        if program.path and not (path.is_file() and os.access(path, os.X_OK)):
            raise FileProblem(
                f"{what}_config.path {program.path!r} is no program that can be run; "
                "name an executable file"
            )
    external = [
        kind
        for kind, program in (
            (pairing.proxy_type(config), config.proxy_config),
            (pairing.shim_type(config), config.shim_config),
        )
        if program.path
    ]
    longest = run_dir / "console.sock"
    if external and len(os.fsencode(longest)) > sockets.MAX_PATH:
        kind = external[0]
        raise HostProblem(
            f"the socket {longest} has too long a path for {kind}, which takes "
            f"{sockets.MAX_PATH} bytes; choose a shorter id or run_dir"
        )
