"""Guests as the hyperstart sheet has them, that refuse exactly what it says is refused: hyperstart
of API 4242 and 4244, and Clear Containers' agent. Their programs are `echo`, `cat`, `sleep` and
`exit`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from pathlib import Path
from typing import Any

from vctui.linux import sockets

READY, ACK, ERROR, NEXT, ENDED = 8, 9, 10, 14, 23
POD = {"hostname", "containers", "interfaces", "routes", "dns", "shareDir", "restartPolicy"}
NEWER_POD = {"dnsSearch", "dnsOptions", "portmappingWhiteLists"}
CONTAINER = {
    *("id", "rootfs", "image", "fstype", "addr", "volumes", "fsmap", "sysctl", "process"),
    *("restartPolicy", "initialize"),
}
NEWER_CONTAINER = {"readOnly", "ports"}
PROCESS = {
    *("user", "group", "additionalGroups", "terminal", "stdio", "stderr", "args", "envs"),
    "workdir",
}
NEWER_PROCESS = {"id"}
FSMAP = {"source", "path", "readOnly", "dockerVolume"}
INTERFACE = {"device", "newDeviceName", "ipAddresses", "ipAddress", "netMask", "mtu"}
ROUTE = {"dest", "gateway", "device"}
TERM, KILL = 15, 9
BUFFER = 4096
"""Bytes that QEMU takes from its socket at once, and puts into one buffer of the guest's port."""
ROOM = 512
"""Bytes of input that hyperstart keeps for a process."""


class Refusal(Exception):
    """Answered with ERROR."""


class Dead(Exception):
    """The guest's event loop ends."""


class Process:
    def __init__(self, told: dict[str, Any], container: str) -> None:
        self.id = told.get("id") or str(told["stdio"])
        self.container = container
        self.terminal = told["terminal"]
        self.stdio, self.stderr = told["stdio"], told.get("stderr", 0)
        self.args = told["args"]
        self.input: asyncio.Queue[bytes] = asyncio.Queue()
        self.kept = b""
        """Input that its event loop has not passed on yet."""
        self.ended = asyncio.Event()
        self.signals: list[int] = []
        self.sizes: list[tuple[int, int]] = []


class Guest:
    """
    Args:
        version: of hyperstart's API; None for Clear Containers' agent.
    """

    def __init__(self, folder: Path, version: int | None) -> None:
        self.version = version
        self.is_cc = version is None
        self.paths = (folder / "agent.sock", folder / "tty.sock")
        self.commands: list[tuple[int, Any]] = []
        self.inits: dict[str, Process] = {}
        self.processes: dict[str, Process] = {}
        self.files: dict[tuple[str, str], bytes] = {}
        self.dead = asyncio.Event()
        self.why_dead = ""
        self.is_greeted = False
        self._started = False
        self._ends: list[socket.socket | None] = [None, None]

    async def __aenter__(self) -> Guest:
        self._listening = [sockets.listen(path) for path in self.paths]
        self._tasks = [
            asyncio.create_task(self._serve(number, work))
            for number, work in enumerate((self._control, self._streams))
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for one in (*self._listening, *self._ends):
            if one is not None:
                one.close()

    # channels

    async def _serve(self, number: int, work: Any) -> None:
        """One client after the other, as QEMU does."""
        loop = asyncio.get_running_loop()
        while not self.dead.is_set():
            end, _ = await loop.sock_accept(self._listening[number])
            end.setblocking(False)
            self._ends[number] = end
            try:
                await work(end)
            except Dead as error:
                self._die(str(error))
            except OSError:
                pass
            self._ends[number] = None
            end.close()

    def _die(self, why: str) -> None:
        self.why_dead = why
        self.dead.set()
        for end in self._ends:
            if end is not None:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    async def _control(self, end: socket.socket) -> None:
        if not self.is_greeted:  # and never again
            self.is_greeted = True
            await self._say(READY)
        while True:
            command, length = struct.unpack(">II", await self._read(end, 8))
            if not 8 <= length <= 10240:
                raise Dead(f"a command of {length} bytes")
            payload = await self._read(end, length - 8) if length > 8 else b""
            await self._command(command, payload)

    async def _read(self, end: socket.socket, count: int) -> bytes:
        loop = asyncio.get_running_loop()
        data = await loop.sock_recv(end, count)
        if not data:
            raise OSError("the host has left")
        if self.is_cc and len(data) < count:
            raise Dead("a short read")
        while len(data) < count:
            data += await loop.sock_recv(end, count - len(data))
        if not self.is_cc:
            await self._say(NEXT, struct.pack(">I", len(data)))
        return data

    async def _say(self, command: int, payload: bytes = b"") -> None:
        if (end := self._ends[0]) is not None:
            frame = struct.pack(">II", command, 8 + len(payload)) + payload
            await asyncio.get_running_loop().sock_sendall(end, frame)

    async def _stream(self, number: int, data: bytes = b"") -> None:
        if (end := self._ends[1]) is not None:
            frame = struct.pack(">QI", number, 12 + len(data)) + data
            await asyncio.get_running_loop().sock_sendall(end, frame)

    async def _streams(self, end: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        buffer = b""
        while data := await loop.sock_recv(end, BUFFER):
            if self.is_cc and 0 < len(buffer) < 12:  # what a read(2) at the buffer's end has given
                raise Dead("a header in two buffers")
            buffer += data
            while len(buffer) >= 12:
                number, length = struct.unpack_from(">QI", buffer)
                if not self.is_cc and length > 4096:
                    raise Dead(f"a stream frame of {length} bytes")
                if len(buffer) < length:
                    break
                await self._input(number, buffer[12:length])
                buffer = buffer[length:]
            self._pass_on()

    async def _input(self, number: int, data: bytes) -> None:
        """hyperstart reads one frame, and passes on what came before, in turns: of two frames one
        right after the other the second finds no room."""
        before = {one: one.kept for one in self.processes.values()}
        known = False
        for process in self.processes.values():
            if process.stdio == number and not process.ended.is_set():
                known = True
                kept = process.kept + data
                process.kept = kept if self.is_cc else kept[:ROOM]
                if not data:
                    self._pass_on()
                    process.input.put_nowait(b"")
                    return
        for process, kept in before.items():
            process.kept = process.kept[len(kept) :]
            if kept:
                process.input.put_nowait(kept)
        if not known and not self.is_cc:
            await self._stream(number)

    def _pass_on(self) -> None:
        for process in self.processes.values():
            if process.kept:
                process.input.put_nowait(process.kept)
                process.kept = b""

    # commands

    async def _command(self, command: int, payload: bytes) -> None:
        file = b""
        if command == 15:
            payload, brace, file = payload.partition(b"}")
            payload += brace
        told = json.loads(payload) if payload else {}
        self.commands.append((command, told))
        try:
            answer = await self._do(command, told, file)
        except (Refusal, KeyError) as error:
            await self._say(ERROR, str(error).encode() if self.is_cc else b"")
            if command == 1 and not self.is_cc:
                raise Dead("the pod was not started") from error
            return
        await self._say(ACK, answer)

    async def _do(self, command: int, told: dict[str, Any], file: bytes) -> bytes:
        if command == 12:
            return b""
        if self.is_cc and command not in {1, 4, 6, 11, 12, 17, 18, 22, 23}:
            raise Refusal(f"no handler for {command}")
        match command:
            case 0:
                return struct.pack(">I", self.version)
            case 1:
                self._start_pod(told)
            case 4:
                await self._destroy()
            case 6:
                if next(iter(told)) != "container" and not self.is_cc:
                    raise Refusal("its parser misses what stands behind the process")
                if told["container"] not in self.inits:
                    raise Refusal("no such container")
                self._start(told["process"], told["container"])
            case 11:
                self._resize(told)
            case 15:
                self._known(told, {"container", "file"})
                self.files[self._place(told)] = file
            case 16:
                self._known(told, {"container", "file"})
                if self._place(told) not in self.files:
                    raise Refusal("no such file")
                return self.files[self._place(told)]
            case 17:
                self._new_container(told)
            case 18:
                self._kill(told)
            case 19:
                pass
            case 20:
                self._known(told, INTERFACE)
                told["device"]
            case 21:
                if next(iter(told)) != "routes":
                    raise Refusal("routes come first")
                for each in told["routes"]:
                    self._known(each, ROUTE)
            case 22:
                self._remove(told["container"])
            case 25 if self.version == 4244:
                told["device"]
            case 23 if self.is_cc:
                return self._list(told)
            case 24 if self.version == 4244:
                self._signal(self._process(told["process"]), told["signal"])
            case _:
                raise Refusal("no such command")
        return b""

    def _known(self, told: dict[str, Any], keys: set[str]) -> None:
        if not self.is_cc and not set(told) <= keys:
            raise Refusal(f"unknown keys {set(told) - keys}")

    def _place(self, told: dict[str, Any]) -> tuple[str, str]:
        if told["container"] not in self.inits:
            raise Refusal("no such container")
        return told["container"], told["file"]

    def _start_pod(self, told: dict[str, Any]) -> None:
        self._known(told, POD | (NEWER_POD if self.version == 4244 else set()))
        if self.is_cc and (self._started or not told["shareDir"]):
            raise Refusal("started, or no share")
        for each in told.get("interfaces", ()):
            self._known(each, INTERFACE)
            each["macAddr" if self.is_cc else "device"]
            for address in each["ipAddresses"]:
                int(address["netMask"])
        for each in told.get("routes", ()):
            self._known(each, ROUTE)
        self._started = True

    def _new_container(self, told: dict[str, Any]) -> None:
        self._known(told, CONTAINER | (NEWER_CONTAINER if self.version == 4244 else set()))
        for each in told.get("fsmap", ()):
            self._known(each, FSMAP)
        if self.is_cc:
            told["systemMountsInfo"], told["constraints"]
        if not self._started or told["id"] in self.inits:
            raise Refusal("not started, or there already")
        self.inits[told["id"]] = self._start(told["process"], told["id"])

    def _start(self, told: dict[str, Any], container: str) -> Process:
        self._known(told, PROCESS | (NEWER_PROCESS if self.version == 4244 else set()))
        for each in told["envs"]:
            self._known(each, {"env", "value"})
        if not told["stdio"] or bool(told.get("stderr")) == told["terminal"] or not told["args"]:
            raise Refusal("streams do not fit")
        if self.version == 4244 and not told["id"]:
            raise Refusal("no id")
        if told["args"][0] not in {"echo", "cat", "sleep", "exit"}:
            raise Refusal(f"exec: {told['args'][0]!r}: executable file not found in $PATH")
        process = Process(told, container)
        if process.id in self.processes and not self.processes[process.id].ended.is_set():
            raise Refusal("id is in use")
        self.processes[process.id] = process
        self._tasks.append(asyncio.create_task(self._run(process)))
        return process

    async def _run(self, process: Process) -> None:
        name, *words = process.args
        status = 0
        if name == "echo":
            await self._stream(process.stdio, " ".join(words).encode() + b"\n")
            if process.stderr:
                await self._stream(process.stderr, b"said\n")
        elif name == "exit":
            status = int(words[0])
        else:
            status = await self._wait(process, copies=name == "cat")
        process.ended.set()
        await self._stream(process.stdio)
        if self.version == 4244:
            said = {"container": process.container, "process": process.id}
            event = {**said, "event": "finished", "status": status}
            await self._say(ENDED, json.dumps(event).encode())
            if self.inits.get(process.container) is process:
                del self.inits[process.container]
        else:
            await self._stream(process.stdio, bytes((status,)))

    async def _wait(self, process: Process, *, copies: bool) -> int:
        while True:
            data = await process.input.get()
            if process.signals:
                return 128 + process.signals[0] if self.is_cc else 0
            if not data and copies:
                return 0
            if copies:
                await self._stream(process.stdio, data)

    def _process(self, name: str) -> Process:
        if name not in self.processes:
            raise Refusal("no such process")
        return self.processes[name]

    def _signal(self, process: Process, number: int) -> None:
        process.signals.append(number)
        process.input.put_nowait(b"")

    def _kill(self, told: dict[str, Any]) -> None:
        if told["container"] not in self.inits:
            raise Refusal("no such container")
        self._signal(self.inits[told["container"]], told["signal"])
        if self.is_cc and told["allProcesses"]:
            for process in self.processes.values():
                if process.container == told["container"]:
                    self._signal(process, told["signal"])

    def _resize(self, told: dict[str, Any]) -> None:
        size = (told["row"], told["column"])
        if self.version == 4244:
            self._process(told["process"]).sizes.append(size)
            return
        for process in self.processes.values():
            if process.stdio == told["seq"]:
                process.sizes.append(size)

    def _remove(self, name: str) -> None:
        if name not in self.inits:  # hyperstart 1.x has freed it with its end
            raise Refusal("no such container")
        if not self.inits[name].ended.is_set():
            raise Refusal("it runs")
        del self.inits[name]

    def _list(self, told: dict[str, Any]) -> bytes:
        if told["container"] not in self.inits:
            raise Refusal("no such container")
        if told["format"] == "json":
            return b"[]" if self.inits[told["container"]].ended.is_set() else b"[7]"
        return b"PID CMD\n7 " + " ".join(told["psargs"]).encode() + b"\n"

    async def _destroy(self) -> None:
        running = [one for one in self.processes.values() if not one.ended.is_set()]
        if self.is_cc:  # no signal is sent
            for one in running:
                await one.ended.wait()
            self.inits.clear()
            self._started = False
            return
        for one in running:
            self._signal(one, TERM)
        if not running:
            await self._say(ACK)
        raise Dead("powered off")
