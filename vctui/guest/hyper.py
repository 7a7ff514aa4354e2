"""The agent as hyperstart 1.x had it, API 4244, on the same containers (hyperstart sheet).

Two ports: commands as JSON, answered in order; and the streams of all processes, told apart by
numbers that the host chooses. It is strict where hyperstart is: an unknown key refuses a command.
"""

from __future__ import annotations

import json
import os

from vctui.errors import AgentError
from vctui.guest import hyper_spec as spec
from vctui.guest import network, rooted
from vctui.guest import sandbox as guest
from vctui.guest.loop import Queue
from vctui.guest.uevents import appears
from vctui.wire import hyperstart
from vctui.wire.hyperstart import Control, ControlDecoder, HyperstartError, StreamDecoder
from vctui.wire.proto import message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from vctui.guest.config import Config
    from vctui.guest.log import Log
    from vctui.guest.loop import Loop
    from vctui.guest.process import Process
    from vctui.guest.sandbox import Sandbox
    from vctui.guest.service import Service
    from vctui.guest.stdio import Input, Output

API = 4244
_CHUNK = 8192
_PATIENCE = 3.0
"""Seconds for an interface to appear."""
_REASON = 1024
"""Bytes of a refusal's words, which hyperstart itself has for few commands."""
_REFUSED = (
    *(AgentError, ArithmeticError, AttributeError, LookupError, OSError, RecursionError),
    *(TypeError, ValueError),
)
"""What a host's JSON may come to that is not as it should be."""
_POD = {
    *("hostname", "containers", "interfaces", "routes", "dns", "dnsSearch", "dnsOptions"),
    *("shareDir", "restartPolicy", "portmappingWhiteLists"),
}
_CONTAINER = {
    *("id", "rootfs", "image", "fstype", "addr", "volumes", "fsmap", "sysctl", "process"),
    *("restartPolicy", "initialize", "readOnly", "ports"),
}
_FSMAP = {"source", "path", "readOnly", "dockerVolume"}
_PROCESS = {
    *("id", "user", "group", "additionalGroups", "terminal", "stdio", "stderr", "args", "envs"),
    "workdir",
}
_ENV = {"env", "value"}
_INTERFACE = {"device", "newDeviceName", "ipAddresses", "ipAddress", "netMask", "mtu"}
_ROUTE = {"dest", "gateway", "device"}


class Hyper:
    has_next = True
    """It tells what it has read of the commands."""
    powers_off = True
    """The guest goes with the pod."""
    input_room: int | None = 512
    """Bytes of input that are kept for a process; more is lost. None: all of it is."""

    def __init__(
        self,
        loop: Loop,
        log: Log,
        sandbox: Sandbox,
        config: Config,
        service: Service,
        *,
        control: Callable[[bytes], None],
        streams: Callable[[bytes], None],
        room: Callable[[], Awaitable[None]],
        power_off: Callable[[], None],
    ) -> None:
        self.loop = loop
        self._log = log
        self.sandbox = sandbox
        self.config = config
        self.service = service
        self._control = control
        self.stream = streams
        self._room = room
        """Returns when the host has taken most of the streams."""
        self._power_off = power_off
        self._commands = ControlDecoder()
        self._input = StreamDecoder()
        self._turns = Queue()
        self.started = False
        self.by_number: dict[int, Process] = {}
        self._typed: dict[int, int] = {}
        """Bytes of input that a process has not taken yet, by the number of its stream."""

    def greet(self) -> None:
        """Say that commands are taken; once, as hyperstart does."""
        self._say(hyperstart.READY)

    def lost(self) -> None:
        """The host has left: what it had half said is void."""
        self._commands = ControlDecoder()
        self._input = StreamDecoder()

    def receive_control(self, data: bytes) -> None:
        if self.has_next:
            self._say(hyperstart.NEXT, len(data).to_bytes(4, "big"))
        try:
            for one in self._commands.feed(data):
                self.loop.start(self._run(one))
        except HyperstartError as error:
            self._log.warning(f"the host's commands are garbled: {error}")
            self._commands = ControlDecoder()

    def receive_stream(self, data: bytes) -> None:
        try:
            for one in self._input.feed(data):
                process = self.by_number.get(one.sequence)
                if process is None or process.stdin is None:
                    self.loop.soon(self.answer_unknown, one.sequence)  # behind what was typed
                elif one.data:
                    self._type(one.sequence, process.stdin, one.data)
                elif not process.terminal:
                    self.loop.start(_quietly(process.stdin.finish()))
        except HyperstartError as error:
            self._log.warning(f"the host's streams are garbled: {error}")
            self._input = StreamDecoder()

    def _type(self, number: int, stdin: Input, data: bytes) -> None:
        waiting = self._typed.get(number, 0)
        if self.input_room is not None:
            data = data[: self.input_room - waiting]
        if data:
            self._typed[number] = waiting + len(data)
            self.loop.start(self._pass_on(number, stdin, data))

    async def _pass_on(self, number: int, stdin: Input, data: bytes) -> None:
        await _quietly(stdin.write(data))
        if number in self._typed:
            self._typed[number] -= len(data)

    # what Clear Containers' agent does otherwise

    def check(self, data: dict[str, Any], known: set[str]) -> dict[str, Any]:
        """Raises AgentError for a key that there is not."""
        unknown = sorted(set(data) - known)
        if unknown:
            raise AgentError(f"there is no key {unknown[0]!r}")
        return data

    def check_order(self, data: dict[str, Any]) -> None:
        """Raises AgentError where hyperstart's parser would miss the key behind the process."""
        if next(iter(data)) != "container":
            raise AgentError("the container is not named first")

    def answer_unknown(self, sequence: int) -> None:
        """Input came for nobody."""
        self.stream(hyperstart.encode_stream(sequence))

    async def tell_end(self, container_id: str, process: Process, stdio: int, status: int) -> None:
        """A process has ended and its output is out. A container is freed with its first one."""
        if process.id == container_id and process.pid:
            await self._forget(container_id)
        event = {
            "container": container_id,
            "process": process.id,
            "event": "finished",
            "status": status,
        }
        self._say(hyperstart.PROCESS_ENDED, json.dumps(event).encode())

    async def do(self, one: Control, data: dict[str, Any]) -> bytes:
        """
        Raises:
            AgentError: it cannot be, or there is no such command.
            KeyError, TypeError, ValueError: the host has left out what it needs.
        """
        match one.command:
            case hyperstart.GET_VERSION:
                return API.to_bytes(4, "big")
            case hyperstart.PING | hyperstart.READY:
                pass
            case hyperstart.DESTROY_POD:
                await self.sandbox.destroy()
            case hyperstart.ONLINE_CPU_MEM:
                await guest.online(self.loop, self.config.sys, 0, memory=True)
            case hyperstart.START_POD:
                await self._start_pod(self.check(data, _POD))
            case hyperstart.NEW_CONTAINER:
                await self._new_container(self.check(data, _CONTAINER))
            case hyperstart.EXEC_COMMAND:
                await self._exec(data)
            case hyperstart.KILL_CONTAINER:
                self._kill(data["container"], "", data["signal"])
            case hyperstart.SIGNAL_PROCESS:
                self._kill(data["container"], data["process"], data["signal"])
            case hyperstart.WINDOW_SIZE:
                container = self.sandbox.container(data["container"])
                container.process(data["process"]).resize(data["row"], data["column"])
            case hyperstart.SETUP_INTERFACE:
                await self._set_interface(data)
            case hyperstart.DELETE_INTERFACE:
                network.delete_interface(data["device"])
            case hyperstart.SETUP_ROUTE:
                network.add_routes(self._routes(data["routes"]))
            case hyperstart.READ_FILE:
                return self._read_file(data)
            case hyperstart.WRITE_FILE:
                self._write_file(data, hyperstart.split_file(one.payload)[1])
            case _:  # also REMOVE_CONTAINER: a container is gone with its end
                raise AgentError("there is no such command, or nothing for it to do")
        return b""

    # of both

    def _say(self, command: int, payload: bytes = b"") -> None:
        limit = hyperstart.MAX_CONTROL
        self._control(hyperstart.encode_control(command, payload, limit=limit))

    async def _run(self, one: Control) -> None:
        async with self._turns:
            try:
                told = one.payload
                if one.command == hyperstart.WRITE_FILE:
                    told, _ = hyperstart.split_file(told)
                data = json.loads(told) if told else {}
                if type(data) is not dict:
                    raise AgentError("that is no object")
                answer = await self.do(one, data)
            except _REFUSED as error:
                self._log.warning(f"command {one.command} is refused: {error}")
                reason = (
                    f"{type(error).__name__}: {error}" if type(error) is KeyError else str(error)
                )
                self._say(hyperstart.ERROR, reason.encode()[:_REASON] + b"\0")
                return
            self._say(hyperstart.ACK, answer)
            if one.command == hyperstart.DESTROY_POD and self.powers_off:
                self._power_off()

    async def _start_pod(self, pod: dict[str, Any]) -> None:
        request: Any = message("CreateSandboxRequest")(
            hostname=pod.get("hostname", ""),
            dns=[f"nameserver {each}" for each in pod.get("dns") or ()],
            storages=[spec.share(pod["shareDir"], self.config.shared)],
        )
        await self.sandbox.create(request)
        for each in pod.get("interfaces") or ():
            await self._set_interface(each)
        network.add_routes(self._routes(pod.get("routes") or []))
        self.started = True

    def _read_file(self, wanted: dict[str, Any]) -> bytes:
        with open(self._open_file(wanted), "rb") as file:
            size = os.fstat(file.fileno()).st_size  # as hyperstart has it: of /proc nothing
            data = file.read(min(size, hyperstart.MAX_FILE + 1))
        if len(data) > hyperstart.MAX_FILE:
            raise AgentError(f"the file has more than {hyperstart.MAX_FILE} bytes")
        return data

    def _write_file(self, wanted: dict[str, Any], data: bytes) -> None:
        with open(self._open_file(wanted, write=True), "wb") as file:
            file.write(data)

    def _open_file(self, wanted: dict[str, Any], *, write: bool = False) -> int:
        container_id, path = wanted["container"], wanted["file"]
        if not isinstance(path, str):
            raise TypeError("the name of a file is a text")
        return rooted.open_file(self.sandbox.container(container_id).root(), path, write=write)

    async def _set_interface(self, told: dict[str, Any]) -> None:
        """hyperstart finds it by the name that it has, Clear Containers' agent by its MAC."""
        device, wanted = spec.interface(self.check(told, _INTERFACE))
        if not wanted.hwAddr:
            found = await appears(self.loop, lambda: network.mac_of(device) or None, _PATIENCE)
            if not found:
                raise AgentError(f"there is no interface {device!r}")
            wanted.hwAddr = found
        await network.update_interface(self.loop, wanted)

    def _routes(self, told: list[dict[str, Any]]) -> list[Any]:
        return spec.routes([self.check(each, _ROUTE) for each in told])

    async def _new_container(self, wanted: dict[str, Any]) -> None:
        if not self.started:
            raise AgentError("the pod was not started")
        container_id, told = wanted["id"], wanted["process"]
        for each in wanted.get("fsmap") or ():
            self.check(each, _FSMAP)
        self._check_process(told)
        disks = f"{self.config.kata}/shared/disks"
        await self.sandbox.create_container(spec.container(wanted, self.config.shared, disks))
        try:
            container = self.sandbox.container(container_id)
            self._connect(container_id, told, container.init)
            await self.sandbox.start_container(container_id)
        except AgentError:
            await self.sandbox.remove_container(container_id)
            raise

    async def _forget(self, container_id: str) -> None:
        """hyperstart frees a container with its end."""
        if container_id in self.sandbox.containers:
            await self.sandbox.remove_container(container_id)

    async def _exec(self, data: dict[str, Any]) -> None:
        told = data["process"]
        self.check_order(data)
        self._check_process(told)
        container = self.sandbox.container(data["container"])
        request: Any = message("ExecProcessRequest")(
            container_id=container.id,
            exec_id=str(told.get("id") or told["stdio"]),
            string_user=spec.user(told),
            process=spec.process(told),
        )
        await container.exec(request)
        self._connect(container.id, told, container.process(request.exec_id))

    def _check_process(self, told: dict[str, Any]) -> None:
        self.check(told, _PROCESS)
        for each in told.get("envs") or ():
            self.check(each, _ENV)

    def _kill(self, container_id: str, exec_id: str, signal: int) -> None:
        self.sandbox.container(container_id).signal(exec_id or container_id, signal)

    def _connect(self, container_id: str, told: dict[str, Any], process: Process) -> None:
        """Carry the streams of a process from now on."""
        stdio, stderr = int(told["stdio"]), int(told.get("stderr", 0))
        if not 0 < stdio < 1 << 64 or bool(stderr) == process.terminal:
            raise AgentError("the numbers of its streams do not fit the process")
        self.by_number[stdio] = process
        self.loop.start(self._carry(container_id, process, stdio, stderr))

    async def _carry(self, container_id: str, process: Process, stdio: int, stderr: int) -> None:
        await process.connected
        errors = self.loop.start(self._copy(process.stderr, stderr))
        await self._copy(process.stdout, stdio)
        await errors
        self.stream(hyperstart.encode_stream(stdio))
        try:
            status = await process.ended
        except AgentError:
            status = 127
        self.by_number.pop(stdio, None)
        self._typed.pop(stdio, None)
        await self.tell_end(container_id, process, stdio, status)

    async def _copy(self, output: Output | None, number: int) -> None:
        while output is not None and (data := await output.read(_CHUNK, 1)):
            await self._room()
            self.stream(hyperstart.encode_stream(number, data, limit=hyperstart.MAX_SENT))


async def _quietly(work: Any) -> None:
    """What a process does not read is lost, as hyperstart has it."""
    try:
        await work
    except AgentError:
        return
