"""The agent on the host, for tests of everything above crun: containers are plain processes.

Run as a program with a descriptor of a socket, a folder, and words for its kernel command line:
it answers there as in a guest. With `listen:` before the descriptor, the socket listens, as a vsock
port does.
"""

from __future__ import annotations

import _socket
import json
import os
import sys
from pathlib import Path

from vctui.errors import AgentError
from vctui.guest.__main__ import Agent
from vctui.guest.children import Children
from vctui.guest.config import Config
from vctui.guest.log import Log
from vctui.guest.loop import Loop
from vctui.guest.process import Pipes, Process
from vctui.guest.timeline import Timeline, now
from vctui.guest.vsock import serve as serve_listening


class PlainProcesses:
    """Stands for crun: a program is started as it is, with the process's pipes."""

    def __init__(self, children: Children) -> None:
        self._children = children

    async def run(self, process: Process, container_id: str, bundle: str, program: str) -> None:
        self._start(process, Path(bundle, "config.json"))

    async def exec(
        self, process: Process, container_id: str, process_file: str, program: str
    ) -> None:
        self._start(process, Path(process_file))

    async def delete(self, container_id: str) -> None:
        pass

    def _start(self, process: Process, file: Path) -> None:
        document = json.loads(file.read_text(encoding="utf-8"))
        args = document.get("process", document)["args"]
        pipes = Pipes()
        process.take_pipes(pipes)
        fds = pipes.theirs
        try:
            pid, ended = self._children.spawn(args[0], args, os.environ, dict(enumerate(fds)))
        except OSError as error:
            raise AgentError(f"executable file `{args[0]}` not found in $PATH") from error
        finally:
            for fd in fds:
                os.close(fd)
        process.started(pid, ended)


def main() -> None:
    where, folder = sys.argv[1], sys.argv[2]
    listens = where.startswith("listen:")
    fds = [int(word) for word in where.removeprefix("listen:").split(",")]
    config = Config(
        " ".join(sys.argv[3:]),
        run=f"{folder}/run",
        kata=f"{folder}/kata",
        cgroup=f"{folder}/cgroup",
    )
    log = Log(10)
    loop = Loop(lambda error: log.bug("a callback", error))
    os.set_blocking(sys.stderr.fileno(), False)
    log.open(loop, os.dup(sys.stderr.fileno()))
    children = Children(loop)
    agent = Agent(loop, config, log, children, PlainProcesses(children), Timeline(now()))
    for fd in fds:
        os.set_blocking(fd, False)
    if listens:
        serve_listening(loop, _socket.socket(fileno=fds[0]), agent.serve_client)
    elif len(fds) > 1:
        agent.serve_hyperstart(*fds)
    else:
        agent.serve(fds[0])
    loop.run()


if __name__ == "__main__":
    main()
