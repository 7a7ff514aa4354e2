"""PID 1: open the channel, serve, reap, and power off when the sandbox is destroyed.

Whoever starts this has mounted proc, sysfs, devtmpfs, devpts, /run and the version 2 control
groups; virtio modules may still be being inserted.
"""

from __future__ import annotations

import os
import sys

from vctui.guest.channel import Channel, Port, wait_port
from vctui.guest.children import Children
from vctui.guest.config import CC_AGENT, GRPC, HYPERSTART, VSOCK, Config
from vctui.guest.crun import Crun
from vctui.guest.log import Log
from vctui.guest.loop import Loop, TimedOut
from vctui.guest.mounts import Mounts
from vctui.guest.sandbox import Sandbox
from vctui.guest.server import Server
from vctui.guest.service import Service
from vctui.guest.timeline import Timeline, now

AGENT_PORT = "agent.channel.0"
HYPERSTART_PORTS = ("sh.hyper.channel.0", "sh.hyper.channel.1")
"""For commands, and for streams (wire/hyperstart.py, which other faces do not load)."""
LOG_PORT = "agent.log.0"
_LOG_PORT_PATIENCE = 1.0
"""Seconds; it appears together with the agent's, one after the other."""
_CLIENT = 1 << 16
"""Between the numbers of two clients that are connected at once; each may count up from its own."""
_SHELL_PAUSE = 1.0
_POWER_OFF_PAUSE = 0.05
"""Seconds for the last answer to leave the guest."""


class Agent:
    """All parts put together, around a descriptor of the channel."""

    def __init__(
        self,
        loop: Loop,
        config: Config,
        log: Log,
        children: Children,
        crun: Crun,
        timeline: Timeline,
    ) -> None:
        self._loop = loop
        self._log = log
        self._config = config
        self._children = children
        self._timeline = timeline
        self._clients = 0
        mounts = Mounts(loop, children, config)
        sandbox = Sandbox(loop, children, crun, mounts, config, log)
        self._sandbox = sandbox
        if config.protocol == GRPC:
            from vctui.guest.kata1 import Kata1Service

            self._service: Service = Kata1Service(loop, sandbox, config, timeline)
        else:
            self._service = Service(loop, sandbox, config, timeline)

    def serve(self, fd: int) -> Port:
        """Answer on a non-blocking descriptor, client after client."""
        return self._serve_grpc(fd) if self._config.protocol == GRPC else self._serve_ttrpc(fd)

    def serve_client(self, fd: int) -> Port:
        """Answer one client on a connection of its own, which is closed when it leaves."""
        self._clients += _CLIENT
        if self._config.protocol == GRPC:
            return self._serve_http(fd, self._clients)
        return self._serve_ttrpc(fd, stays=False, client=self._clients)

    def _serve_ttrpc(self, fd: int, *, stays: bool = True, client: int = 1) -> Port:

        def send(data: bytes) -> None:
            channel.send(data)
            if self._service.destroyed:
                self._stop_soon()

        services = self._service.services()
        server = Server(self._loop, self._log, services, send, self._timeline, connection=client)
        channel = Channel(self._loop, fd, receive=server.receive, lost=server.lost, stays=stays)
        return channel

    def _serve_http(self, fd: int, client: int) -> Port:
        from vctui.guest.grpc import Connection

        def receive(data: bytes) -> None:
            if not connection.receive(data):
                connection.lost()
                port.close()

        def lost() -> None:
            connection.lost()

        port = Port(self._loop, fd, receive=receive, lost=lost, stays=False)
        services = self._service.services()
        connection = Connection(
            self._loop, self._log, services, port.send, self._timeline, connection=client
        )
        return port

    def _serve_grpc(self, fd: int) -> Port:
        from vctui.guest.grpc import Multiplex

        def send(data: bytes) -> None:
            port.send(data)

        services = self._service.services()
        multiplex = Multiplex(self._loop, self._log, services, send, self._timeline)
        port = Port(self._loop, fd, receive=multiplex.receive, lost=multiplex.lost)
        return port

    def serve_hyperstart(self, control_fd: int, stream_fd: int) -> None:
        """Answer on a port for commands and one for the processes' streams."""
        from vctui.guest.hyper import Hyper

        face = Hyper
        if self._config.protocol == CC_AGENT:
            from vctui.guest.cc_agent import CcAgent

            face = CcAgent

        def say(data: bytes) -> None:
            control.send(data)

        def stream(data: bytes) -> None:
            streams.send(data)

        async def room() -> None:
            await streams.room()

        hyper = face(
            self._loop,
            self._log,
            self._sandbox,
            self._config,
            self._service,
            control=say,
            streams=stream,
            room=room,
            power_off=self._stop_soon,
        )
        control = Port(self._loop, control_fd, receive=hyper.receive_control, lost=hyper.lost)
        streams = Port(self._loop, stream_fd, receive=hyper.receive_stream, lost=hyper.lost)
        hyper.greet()

    def _stop_soon(self) -> None:
        self._loop.later(_POWER_OFF_PAUSE, self._loop.stop)

    def debug_console(self) -> None:
        """A shell on the console, again and again (sheet §8: agent.debug_console)."""
        console = os.open("/dev/console", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        words = ["busybox", "setsid", "cttyhack", "sh"]
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "TERM": "linux"}
        try:
            fds = {0: console, 1: console, 2: console}
            _, ended = self._children.spawn(self._config.busybox, words, environment, fds)
        finally:
            os.close(console)
        ended.then(lambda _: self._again())

    def _again(self) -> None:
        self._loop.later(_SHELL_PAUSE, self.debug_console)


def main(began: int) -> None:
    """Run as the guest's PID 1; never returns.

    Args:
        began: when its first line was executed (timeline.now).
    """
    log, timeline = Log(), Timeline(began)
    timeline.add("agent: imports", began)
    try:
        with open("/proc/cmdline", encoding="utf-8", errors="replace") as file:
            config = Config(file.read())
        log.level = config.level
        _run(config, log, timeline)
    except BaseException as error:
        import traceback

        text = "".join(traceback.format_exception(error))
        print(f"the agent has failed:\n{text}", file=sys.stderr, flush=True)  # noqa: T201
    os.sync()
    os.execv("/bin/busybox", ["busybox", "sh", "-c", "busybox poweroff -f; busybox sleep 60"])


def _run(config: Config, log: Log, timeline: Timeline) -> None:
    loop = Loop(lambda error: log.bug("a callback", error))
    fds = [] if config.socket == VSOCK else _open_ports(loop, config, timeline)
    children = Children(loop, config.proc)
    crun = Crun(loop, children, config, log, timeline)
    agent = Agent(loop, config, log, children, crun, timeline)
    if config.socket == VSOCK:
        from vctui.guest import vsock

        begin = now()
        listening = loop.run_until(loop.start(vsock.listen(children, config)))
        vsock.serve(loop, listening, agent.serve_client)
        timeline.add("agent: listen on vsock", begin)
    elif config.protocol in {HYPERSTART, CC_AGENT}:
        agent.serve_hyperstart(fds[0], fds[1])
    else:
        agent.serve(fds[0])
    loop.start(_open_log(loop, config, log))
    log.info("the agent serves")
    if config.debug_console:
        agent.debug_console()
    loop.run()


def _open_ports(loop: Loop, config: Config, timeline: Timeline) -> list[int]:
    begin = now()
    is_hyperstart = config.protocol in {HYPERSTART, CC_AGENT}
    names = HYPERSTART_PORTS if is_hyperstart else (AGENT_PORT,)
    paths = [loop.run_until(loop.start(wait_port(loop, name, config.sys))) for name in names]
    timeline.add("agent: wait for the port", begin)
    return [os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC) for path in paths]


async def _open_log(loop: Loop, config: Config, log: Log) -> None:
    """Log to the port, or where the machine has none, to the console."""
    waiting = loop.start(wait_port(loop, LOG_PORT, config.sys))
    try:
        path = await loop.within(_LOG_PORT_PATIENCE, waiting)
    except TimedOut:
        waiting.cancel()
        path = "/dev/console"
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    log.open(loop, os.open(path, flags))


if __name__ == "__main__":
    main(now())
