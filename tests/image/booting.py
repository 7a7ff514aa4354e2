"""Boots a kernel and an initrd in QEMU, and waits for what shows on the console or a port."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

PORT = "agent.channel.0"
_LIMIT = 1 << 20


class Boot:
    """A booting machine. Waiting ends with TimeoutError, or ConnectionError when QEMU ends."""

    def __init__(self, started: float, console: asyncio.StreamWriter) -> None:
        self.started = started
        self.console = b""
        self.ports: set[str] = set()
        self._writer = console
        self._changed = asyncio.Event()
        self._ended = False

    async def console_says(self, text: str, *, timeout: float = 90) -> float:
        """Seconds from the start of QEMU until the console showed the text."""
        return await self._until(lambda: text.encode() in self.console, text, timeout)

    async def port_opens(self, name: str = PORT, *, timeout: float = 90) -> float:
        """Seconds from the start of QEMU until the guest opened a virtio-serial port."""
        return await self._until(lambda: name in self.ports, name, timeout)

    def type(self, line: str) -> None:
        """Send a line to the console."""
        self._writer.write(line.encode() + b"\n")

    async def _until(self, happened: Any, what: str, timeout: float) -> float:
        async with asyncio.timeout(timeout):
            while not happened():
                if self._ended:
                    raise ConnectionError(f"QEMU ended before {what}: {self.console[-2000:]!r}")
                await self._changed.wait()
                self._changed.clear()
        return time.monotonic() - self.started

    async def read_console(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(65536):
            self.console += data
            self._changed.set()
        self._ended = True
        self._changed.set()

    async def read_events(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            event = json.loads(line)
            if event.get("event") == "VSERPORT_CHANGE" and event["data"]["open"]:
                self.ports.add(event["data"]["id"])
                self._changed.set()


@asynccontextmanager
async def boot(
    folder: Path, kernel: Path, initrd: Path, *parameters: str, memory: int = 256
) -> AsyncIterator[Boot]:
    """A machine like a pod's; it is killed in the end.

    Args:
        folder: where to make the sockets; short.
        memory: MiB.
    """
    connected: dict[str, asyncio.Future[Any]] = {}
    servers = []
    for name in ("serial", "qmp"):
        future = connected[name] = asyncio.get_running_loop().create_future()
        servers.append(
            await asyncio.start_unix_server(
                lambda reader, writer, future=future: future.set_result((reader, writer)),
                folder / name,
                limit=_LIMIT,
            )
        )
    share = folder / "share"
    share.mkdir()
    started = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *("qemu-system-x86_64", "-M", "q35,accel=tcg,usb=off,vmport=off", "-cpu", "max"),
        *("-m", str(memory), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-kernel", kernel, "-initrd", initrd, "-append", " ".join(parameters)),
        *("-chardev", f"socket,id=serial,path={folder}/serial", "-serial", "chardev:serial"),
        *("-chardev", f"socket,id=qmp,path={folder}/qmp", "-mon", "chardev=qmp,mode=control"),
        *("-device", "virtio-serial-pci", "-chardev", "null,id=agent"),
        *("-device", f"virtserialport,chardev=agent,name={PORT},id={PORT}"),
        *("-fsdev", f"local,id=share,path={share},security_model=none"),
        *("-device", "virtio-9p-pci,fsdev=share,mount_tag=kataShared"),
        *("-device", "virtio-rng-pci", "-nic", "none"),
        stdin=asyncio.subprocess.DEVNULL,
    )
    tasks = []
    try:
        async with asyncio.timeout(30):
            console_reader, console_writer = await connected["serial"]
            qmp_reader, qmp_writer = await connected["qmp"]
        qmp_writer.write(b'{"execute": "qmp_capabilities"}\n')
        machine = Boot(started, console_writer)
        tasks.append(asyncio.create_task(machine.read_console(console_reader)))
        tasks.append(asyncio.create_task(machine.read_events(qmp_reader)))
        yield machine
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        for task in tasks:
            await task
        for future in connected.values():
            if future.done():
                _, writer = future.result()
                writer.close()
        for server in servers:
            server.close()
            await server.wait_closed()
