"""A scripted QEMU: a real process, and the sockets that the monitor connects to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
from pathlib import Path

from tests.fakes.fake_agent import FakeAgent
from vctui.linux import process, sockets
from vctui.model.hypervisor import Machine

GREETING = {
    "QMP": {
        "version": {"qemu": {"micro": 2, "minor": 2, "major": 7}, "package": ""},
        "capabilities": [],
    }
}


class FakeSocket:
    """A chardev: serves one client at a time, keeps what it receives."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.received = bytearray()
        self._writer: asyncio.StreamWriter | None = None
        self._changed = asyncio.Condition()
        self._listening = sockets.listen(path)
        self._serving = asyncio.create_task(self._serve())

    async def send(self, data: bytes) -> None:
        """Waits for a client, and while it does not read."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._writer is not None)
        assert self._writer is not None
        self._writer.write(data)
        await self._writer.drain()

    async def until_received(self, data: bytes) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: data in self.received)

    async def close(self) -> None:
        self._serving.cancel()
        await asyncio.gather(self._serving, return_exceptions=True)
        self._listening.close()

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            accepted, _ = await loop.sock_accept(self._listening)
            accepted.setblocking(False)
            reader, writer = await asyncio.open_unix_connection(sock=accepted)
            async with self._changed:
                self._writer = writer
                self._changed.notify_all()
            try:
                await self._converse(reader, writer)
            except ConnectionError:
                pass
            finally:
                self._writer = None
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            async with self._changed:
                self.received += data
                self._changed.notify_all()


class FakeQmp(FakeSocket):
    """QMP as far as the monitor goes: query-chardev, and events."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.open_ports: set[str] = set()
        self._asked = asyncio.Event()
        self.ports = ("agent.channel.0", "agent.log.0")

    async def event(self, name: str, **data: object) -> None:
        """Waits for a client that has asked for something, so that it hears of the event."""
        stamp = {"seconds": 1, "microseconds": 0}
        await self._asked.wait()
        await self.send(_line({"event": name, "data": data, "timestamp": stamp}))

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(_line(GREETING))
        rest, decoder = "", json.JSONDecoder()
        while data := await reader.read(65536):
            rest = (rest + data.decode()).lstrip()
            try:
                command, end = decoder.raw_decode(rest)  # clients do not end their lines
            except ValueError:
                continue
            rest = rest[end:]
            answer: object = {}
            if command["execute"] == "query-chardev":
                answer = [
                    {"label": name, "filename": "", "frontend-open": name in self.open_ports}
                    for name in self.ports
                ]
                self._asked.set()
            kept = {"id": command["id"]} if "id" in command else {}
            writer.write(_line({"return": answer, **kept}))


def _line(message: object) -> bytes:
    return json.dumps(message).encode() + b"\r\n"


class FakeQemu:
    """A machine of one pod: `async with` starts and ends it."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.agent = FakeAgent(run_dir / "agent.sock")
        self.has_agent = True
        """Otherwise somebody else serves the agent's socket."""

    async def __aenter__(self) -> FakeQemu:
        self._process = subprocess.Popen(["sleep", "600"])
        self.machine = Machine(
            uuid="11111111-2222-3333-4444-555555555555",
            pid=self._process.pid,
            pid_started=process.start_time(self._process.pid),
        )
        self.qmp = FakeQmp(self.run_dir / "mon.sock")
        self.serial = FakeSocket(self.run_dir / "serial.sock")
        self.agent_log = FakeSocket(self.run_dir / "agentlog.sock")
        if self.has_agent:
            await self.agent.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.kill()
        if self.has_agent:
            await self.agent.__aexit__(*exc)
        for each in (self.qmp, self.serial, self.agent_log):
            await each.close()

    async def open_port(self) -> None:
        """The guest's agent opens its channel."""
        self.qmp.open_ports.add("agent.channel.0")
        await self.qmp.event("VSERPORT_CHANGE", id="agent.channel.0", open=True)

    async def close_port(self) -> None:
        self.qmp.open_ports.discard("agent.channel.0")
        await self.qmp.event("VSERPORT_CHANGE", id="agent.channel.0", open=False)

    async def shut_down(self, reason: str, *, guest: bool = True) -> None:
        """End with a SHUTDOWN event, as QEMU does."""
        await self.qmp.event("SHUTDOWN", guest=guest, reason=reason)
        self.kill()

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
