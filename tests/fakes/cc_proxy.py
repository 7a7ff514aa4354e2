"""A cc-proxy as proxies-and-shims has it (§3), but for the syslog that it needs: stricter than any
peer must be, so that what gets on with it gets on with the real one.

It ends with 134, as a program that crashes, when a token, or the session of nobody, is used for a
second process, or claimed a second time, and where two commands are asked at one time, of which the
answers may be mixed up; and it hangs up on whoever writes a header in pieces. A command that the
guest's end meets is never answered.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import socket
import struct
import sys
from pathlib import Path
from typing import Any

HEADER = struct.Struct(">HB3sBBI")
COMMAND, RESPONSE, STREAM, NOTIFICATION = range(4)
REGISTER, UNREGISTER, ATTACH, HYPER, CONNECT, DISCONNECT, SIGNAL = range(7)
STDIN, STDOUT, STDERR, LOG = range(4)
PATIENCE = 30.0
MAX_FRAME = 10240
MAX_PATH = 107
CODES = {
    "version": 0, "startpod": 1, "destroypod": 4, "execcmd": 6, "ready": 8, "ack": 9, "error": 10,
    "winsize": 11, "ping": 12, "next": 14, "writefile": 15, "readfile": 16, "newcontainer": 17,
    "killcontainer": 18, "onlinecpumem": 19, "setupinterface": 20, "setuproute": 21,
    "removecontainer": 22, "pscontainer": 23,
}  # fmt: skip
EXEC_FIELDS = {"container", "process"}
FIELDS = {
    "id", "rootfs", "image", "fstype", "scsiAddr", "volumes", "fsmap", "sysctl", "process",
    "restartPolicy", "initialize", "systemMountsInfo", "constraints",
}  # fmt: skip
"""What is left of a command that starts a process, which is decoded and encoded again."""
ALWAYS = {
    "restartPolicy": "",
    "initialize": False,
    "systemMountsInfo": {"bindMountDev": False, "devShmSize": 0},
    "constraints": {"CPUQuota": 0, "CPUPeriod": 0, "CPUShares": 0},
}
"""What is there afterwards whether it was before or not (hyperstart sheet, §4.2 to §4.4)."""
ALWAYS_IN_PROCESS = {
    "noNewPrivileges": False,
    "capabilities": dict.fromkeys(
        ("bounding", "effective", "inheritable", "permitted", "ambient"), None
    ),
}
ALWAYS_IN_MAP = {"absolutePath": False, "scsiAddr": ""}


class Refused(Exception):
    """Answered with an error; the connection goes on."""


class HungUp(Exception):
    """The connection is closed."""


def crash(why: str) -> None:
    sys.stderr.write(f"panic: {why}\n")
    sys.stderr.flush()
    os._exit(134)


class Session:
    def __init__(self, base: int) -> None:
        self.base = base
        self.client: Client | None = None
        self.claimed, self.started = asyncio.Event(), asyncio.Event()
        self.container = ""
        self.is_first = False
        self.terminated = False

    def claim(self, client: Client) -> None:
        if self.client is not None:
            raise Refused("token is claimed")
        if self.claimed.is_set():
            crash("close of closed channel: a token was connected again")
        self.client = client
        self.claimed.set()

    def start(self) -> None:
        if self.started.is_set():
            crash("close of closed channel: a token was used again")
        self.started.set()

    def tell(self, kind: int, opcode: int, payload: bytes) -> None:
        if self.client is not None:
            self.client.send(kind, opcode, payload)


class Vm:
    def __init__(self, name: str) -> None:
        self.name = name
        self.sessions: dict[str, Session] = {}
        self.nobody = Session(1)
        self.next = 3
        self.lost = asyncio.Event()
        self.turn = asyncio.Lock()
        self.asking = 0
        """Commands of clients, not of shims, that wait for their answers."""

    async def connect(self, ctl: str, io: str) -> None:
        self.ctl_reader, self.ctl = await asyncio.open_unix_connection(ctl)
        self.io_reader, self.io = await asyncio.open_unix_connection(io)
        self.reading = asyncio.create_task(self.read_io())
        while (await self.control())[0] != 8:
            pass

    async def control(self) -> tuple[int, bytes]:
        command, length = struct.unpack(">II", await self.ctl_reader.readexactly(8))
        return command, await self.ctl_reader.readexactly(length - 8)

    async def hyper(self, command: int, payload: bytes) -> bytes:
        if self.asking:
            crash("two commands at one time")
        self.asking += 1
        try:
            return await self.ask(command, payload)
        finally:
            self.asking -= 1

    async def ask(self, command: int, payload: bytes) -> bytes:
        async with self.turn:
            if len(payload) + 8 > MAX_FRAME:
                raise Refused("message too long")
            self.ctl.write(struct.pack(">II", command, len(payload) + 8) + payload)
            while True:
                try:
                    answer, said = await self.control()
                except (asyncio.IncompleteReadError, OSError):
                    await asyncio.Event().wait()
                if answer == 9:
                    return said
                if answer == 10:
                    text = said.decode(errors="replace")
                    raise Refused(f"ERROR received from VM agent, control msg received : {text}")

    async def read_io(self) -> None:
        try:
            while True:
                number, length = struct.unpack(">QI", await self.io_reader.readexactly(12))
                data = await self.io_reader.readexactly(length - 12)
                for session in self.sessions.values():
                    if number in {session.base, session.base + 1}:
                        self.take(session, number, data)
        except (asyncio.IncompleteReadError, OSError):
            self.lost.set()
            for session in self.sessions.values():
                if session.client is not None:
                    session.client.hang_up()
            self.sessions.clear()

    def take(self, session: Session, number: int, data: bytes) -> None:
        if not data:
            session.terminated = True
        elif session.terminated and len(data) == 1:
            session.tell(NOTIFICATION, 0, data)
        else:
            session.tell(STREAM, STDOUT if number == session.base else STDERR, data)

    def tokens(self, count: int) -> list[str] | None:
        made = []
        for _ in range(count):
            token = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
            self.sessions[token] = Session(self.next)
            self.next += 2
            made.append(token)
        return made or None


class Proxy:
    def __init__(self, path: str) -> None:
        self.path = path
        self.vms: dict[str, Vm] = {}
        self.over = asyncio.Event()
        self.clients: set[asyncio.Task[None]] = set()

    def accept(self, sock: socket.socket) -> None:
        task = asyncio.create_task(Client(self).serve(sock))
        self.clients.add(task)
        task.add_done_callback(self.clients.discard)

    def vm(self, name: str) -> Vm:
        if name not in self.vms:
            raise Refused(f"unknown containerID: {name}")
        return self.vms[name]


class Client:
    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.vm: Vm | None = None
        self.session: Session | None = None
        self.unsent: asyncio.Queue[bytes] = asyncio.Queue()

    def send(self, kind: int, opcode: int, payload: bytes) -> None:
        header = HEADER.pack(2, 3, bytes(3), kind, opcode, len(payload))
        self.unsent.put_nowait(header + payload)

    def hang_up(self) -> None:
        self.unsent.put_nowait(b"")

    async def write(self, sock: socket.socket) -> None:
        while frame := await self.unsent.get():
            await asyncio.get_running_loop().sock_sendall(sock, frame)
        sock.shutdown(socket.SHUT_RDWR)

    async def serve(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        writing = asyncio.create_task(self.write(sock))
        try:
            while True:
                header = await loop.sock_recv(sock, HEADER.size)
                if len(header) != HEADER.size:
                    if header:
                        sys.stderr.write("a header came in pieces\n")
                    return
                version, words, _, kind, opcode, length = HEADER.unpack(header)
                if (version, words) != (2, 3) or kind > NOTIFICATION:
                    return
                payload = b""
                while len(payload) < length:
                    part = await loop.sock_recv(sock, length - len(payload))
                    if not part:
                        return
                    payload += part
                await self.take(kind, opcode, payload)
        except (HungUp, OSError):
            return
        finally:
            if self.session is not None:
                self.session.client = None
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            sock.close()

    async def take(self, kind: int, opcode: int, payload: bytes) -> None:
        if kind == STREAM:
            await self.stream(opcode, payload)
            return
        if kind != COMMAND or opcode > SIGNAL or opcode == DISCONNECT:
            raise HungUp
        try:
            self.send(RESPONSE, opcode, await self.command(opcode, json.loads(payload)))
        except (Refused, KeyError, ValueError) as error:
            self.send(RESPONSE | 0x10, opcode, json.dumps({"msg": str(error)}).encode())

    async def command(self, opcode: int, told: Any) -> bytes:
        if opcode == REGISTER:
            if told["containerId"] in self.proxy.vms:
                raise Refused("container already registered")
            vm = self.proxy.vms[told["containerId"]] = Vm(told["containerId"])
            try:
                await vm.connect(told["ctlSerial"], told["ioSerial"])
            except (OSError, asyncio.IncompleteReadError) as error:
                del self.proxy.vms[vm.name]
                raise Refused(str(error)) from error
            self.vm = vm
            return self.io(told)
        if opcode == ATTACH:
            self.vm = self.proxy.vm(told["containerId"])
            return self.io(told)
        if opcode == UNREGISTER:
            vm = self.proxy.vm(told["containerId"])
            del self.proxy.vms[vm.name]
            self.last = asyncio.create_task(self.leave(vm))
            return b""
        if opcode == HYPER:
            return await self.hyper(told["hyperName"], told["tokens"] or [], told.get("data"))
        if opcode == CONNECT:
            self.connect(told["token"])
            return b""
        return await self.signal(**told)

    def io(self, told: Any) -> bytes:
        assert self.vm is not None
        tokens = self.vm.tokens(told.get("numIOStreams", 0))
        return json.dumps({"io": {"URL": f"unix://{self.proxy.path}", "tokens": tokens}}).encode()

    async def leave(self, vm: Vm) -> None:
        await vm.lost.wait()
        self.proxy.over.set()

    async def hyper(self, name: str, tokens: list[str], data: Any) -> bytes:
        if self.vm is None:
            raise Refused("not attached to a VM")
        if name not in CODES:
            raise Refused(f"unknown command '{name}'")
        encoded = b"" if data is None else json.dumps(data).encode()
        if name not in {"newcontainer", "execcmd"}:
            if tokens:
                raise Refused(f"{name} takes no tokens")
            return await self.vm.hyper(CODES[name], encoded)
        if len(tokens) > 1:
            raise Refused("expected 0 or 1 token")
        process = data["process"]
        if process.get("stdio") or process.get("stderr"):
            raise Refused("stdio and stderr are not to be set")
        session = self.vm.sessions[tokens[0]] if tokens else self.vm.nobody
        if tokens:
            await within(session.claimed, "timeout waiting for the shim to register")
        session.container = data["id"] if name == "newcontainer" else data["container"]
        session.is_first = name == "newcontainer"
        process["stdio"] = session.base
        if not process["terminal"]:
            process["stderr"] = session.base + 1
        answer = await self.vm.hyper(CODES[name], json.dumps(encoded_again(name, data)).encode())
        session.start()
        return answer

    def connect(self, token: str) -> None:
        for vm in self.proxy.vms.values():
            if token in vm.sessions:
                vm.sessions[token].claim(self)
                self.vm, self.session = vm, vm.sessions[token]
                return
        raise Refused(f"unknown token {token}")

    async def signal(self, signalNumber: int, columns: int = 0, rows: int = 0) -> bytes:  # noqa: N803
        session = self.session
        if session is None or self.vm is None:
            raise Refused("not a shim")
        if not 0 <= signalNumber < 31:
            raise Refused("bad signal")
        if signalNumber == 28:
            if not (rows and columns):
                raise Refused("no size")
            size = {"seq": session.base, "row": rows, "column": columns}
            return await self.vm.ask(CODES["winsize"], json.dumps(size).encode())
        if rows or columns:
            raise Refused("a size without its signal")
        if not session.started.is_set():
            if signalNumber in {9, 15}:
                self.send(NOTIFICATION, 0, b"\0")
                return b""
            await within(session.started, "timeout waiting for the process")
        if not session.is_first:
            raise Refused("cannot signal an exec process")
        kill = {"container": session.container, "signal": signalNumber, "allProcesses": False}
        return await self.vm.ask(CODES["killcontainer"], json.dumps(kill).encode())

    async def stream(self, stream: int, payload: bytes) -> None:
        if stream == LOG:
            return
        if stream != STDIN or self.session is None or self.vm is None:
            raise HungUp
        if len(payload) > MAX_FRAME - 12:
            raise HungUp
        try:
            await within(self.session.started, "timeout waiting for the process")
        except Refused as error:
            raise HungUp from error
        self.vm.io.write(struct.pack(">QI", self.session.base, 12 + len(payload)) + payload)


def encoded_again(name: str, data: dict[str, Any]) -> dict[str, Any]:
    """As Go's structures have it: nothing that they do not know, and all that is not left out."""
    fields, always = (FIELDS, ALWAYS) if name == "newcontainer" else (EXEC_FIELDS, {})
    kept = always | {key: value for key, value in data.items() if key in fields}
    kept["process"] = ALWAYS_IN_PROCESS | kept["process"]
    if "fsmap" in kept:
        kept["fsmap"] = [ALWAYS_IN_MAP | one for one in kept["fsmap"]]
    return kept


async def within(event: asyncio.Event, otherwise: str) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            await event.wait()
    except TimeoutError:
        raise Refused(otherwise) from None


async def serve(path: str) -> int:
    Path(path).parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    Path(path).unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen()
    listening.setblocking(False)
    proxy = Proxy(path)
    over = asyncio.create_task(proxy.over.wait())
    while True:
        accepting = asyncio.create_task(asyncio.get_running_loop().sock_accept(listening))
        await asyncio.wait({over, accepting}, return_when=asyncio.FIRST_COMPLETED)
        if over.done():
            accepting.cancel()
            return 0
        sock, _ = accepting.result()
        sock.setblocking(False)
        proxy.accept(sock)


def main(arguments: list[str]) -> int:
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    if not set(options) <= {"-uri", "-log"} or options.get("-log", "debug") != "debug":
        sys.stderr.write(f"flag provided but not defined: {arguments}\n")
        return 2
    path = options["-uri"].removeprefix("unix://")
    if len(os.fsencode(path)) > MAX_PATH:
        return 1
    sys.stderr.write(f"proxy: log level {options.get('-log', 'warn')}\n")
    return asyncio.run(serve(path))
