"""The agent as hyperstart 1.x had it, API 4244, on the same containers (hyperstart sheet).

Two ports: commands as JSON, answered in order; and the streams of all processes, told apart by
numbers that the host chooses. It is strict where hyperstart is: an unknown key refuses a command.
"""

from __future__ import annotations

import json

from vctui.errors import AgentError
from vctui.guest import sandbox as guest
from vctui.guest.loop import Queue
from vctui.wire import hyperstart
from vctui.wire.hyperstart import Control, ControlDecoder, HyperstartError, StreamDecoder
from vctui.wire.proto import message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from vctui.guest.config import Config
    from vctui.guest.log import Log
    from vctui.guest.loop import Loop
    from vctui.guest.process import Process
    from vctui.guest.sandbox import Sandbox
    from vctui.guest.stdio import Output

API = 4244
_CHUNK = 8192
_REASON = 1024
"""Bytes of a refusal's words, which hyperstart itself has for few commands."""
_POD = {
    *("hostname", "containers", "interfaces", "routes", "dns", "dnsSearch", "dnsOptions"),
    *("shareDir", "restartPolicy", "portmappingWhiteLists"),
}
_CONTAINER = {
    *("id", "rootfs", "image", "fstype", "addr", "volumes", "fsmap", "sysctl", "process"),
    *("restartPolicy", "initialize", "readOnly", "ports"),
}
_FSMAP = {"source", "path", "readOnly", "dockerVolume"}
_ENV = {"env", "value"}
_MOUNTS = (
    ("/proc", "proc", "proc", ()),
    ("/dev", "tmpfs", "tmpfs", ("nosuid", "mode=755")),
    ("/dev/pts", "devpts", "devpts", ("newinstance", "ptmxmode=0666", "mode=0620", "gid=5")),
    ("/dev/shm", "tmpfs", "shm", ("nosuid", "nodev", "mode=1777")),  # noqa: S108
    ("/sys", "sysfs", "sysfs", ("nosuid", "noexec", "nodev", "ro")),
)


class Hyper:
    def __init__(
        self,
        loop: Loop,
        log: Log,
        sandbox: Sandbox,
        config: Config,
        *,
        control: Callable[[bytes], None],
        streams: Callable[[bytes], None],
        power_off: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._log = log
        self._sandbox = sandbox
        self._config = config
        self._control = control
        self._streams = streams
        self._power_off = power_off
        self._commands = ControlDecoder()
        self._input = StreamDecoder()
        self._turns = Queue()
        self._started = False
        self._by_number: dict[int, Process] = {}

    def greet(self) -> None:
        """Say that commands are taken; once, as hyperstart does."""
        self._say(hyperstart.READY)

    def lost(self) -> None:
        """The host has left: what it had half said is void."""
        self._commands = ControlDecoder()
        self._input = StreamDecoder()

    def receive_control(self, data: bytes) -> None:
        self._say(hyperstart.NEXT, len(data).to_bytes(4, "big"))
        try:
            for one in self._commands.feed(data):
                self._loop.start(self._run(one))
        except HyperstartError as error:
            self._log.warning(f"the host's commands are garbled: {error}")
            self._commands = ControlDecoder()

    def receive_stream(self, data: bytes) -> None:
        try:
            for one in self._input.feed(data):
                process = self._by_number.get(one.sequence)
                if process is None or process.stdin is None:
                    self._streams(hyperstart.encode_stream(one.sequence))
                elif one.data:
                    self._loop.start(_quietly(process.stdin.write(one.data)))
                elif not process.terminal:
                    self._loop.start(_quietly(process.stdin.finish()))
        except HyperstartError as error:
            self._log.warning(f"the host's streams are garbled: {error}")
            self._input = StreamDecoder()

    def _say(self, command: int, payload: bytes = b"") -> None:
        limit = hyperstart.MAX_CONTROL
        self._control(hyperstart.encode_control(command, payload, limit=limit))

    async def _run(self, one: Control) -> None:
        async with self._turns:
            try:
                answer = await self._do(one)
            except (AgentError, ValueError, KeyError, TypeError, OSError) as error:
                self._log.warning(f"command {one.command} is refused: {error}")
                reason = (
                    f"{type(error).__name__}: {error}" if type(error) is KeyError else str(error)
                )
                self._say(hyperstart.ERROR, reason.encode()[:_REASON] + b"\0")
                return
            self._say(hyperstart.ACK, answer)
            if one.command == hyperstart.DESTROY_POD:
                self._power_off()

    async def _do(self, one: Control) -> bytes:
        command = one.command
        if command == hyperstart.GET_VERSION:
            return API.to_bytes(4, "big")
        if command in {hyperstart.PING, hyperstart.READY}:
            return b""
        if command == hyperstart.DESTROY_POD:
            await self._sandbox.destroy()
            return b""
        if command == hyperstart.ONLINE_CPU_MEM:
            await guest.online(self._loop, self._config.sys, 0, memory=True)
            return b""
        data = json.loads(one.payload)
        if command == hyperstart.START_POD:
            await self._start_pod(_strict(data, _POD))
        elif command == hyperstart.NEW_CONTAINER:
            await self._new_container(_strict(data, _CONTAINER))
        elif command == hyperstart.EXEC_COMMAND:
            await self._exec(data)
        elif command == hyperstart.KILL_CONTAINER:
            self._kill(data["container"], "", data["signal"])
        elif command == hyperstart.SIGNAL_PROCESS:
            self._kill(data["container"], data["process"], data["signal"])
        elif command == hyperstart.WINDOW_SIZE:
            container = self._sandbox.container(data["container"])
            container.process(data["process"]).resize(data["row"], data["column"])
        else:  # also REMOVE_CONTAINER: a container is gone with its end
            raise AgentError("there is no such command, or nothing for it to do")
        return b""

    async def _start_pod(self, pod: dict[str, Any]) -> None:
        storage = message("Storage")(
            driver="9p",
            source=pod["shareDir"],
            fstype="9p",
            options=["trans=virtio,version=9p2000.L,cache=mmap", "nodev", "msize=262144"],
            mount_point=f"{self._config.shared}/",
        )
        request: Any = message("CreateSandboxRequest")(
            hostname=pod.get("hostname", ""), dns=pod.get("dns", []), storages=[storage]
        )
        await self._sandbox.create(request)
        self._started = True

    async def _new_container(self, wanted: dict[str, Any]) -> None:
        if not self._started:
            raise AgentError("the pod was not started")
        container_id, told = wanted["id"], wanted["process"]
        shared = self._config.shared
        mounts = [
            message("Mount")(destination=path, type=kind, source=source, options=list(options))
            for path, kind, source, options in _MOUNTS
        ]
        for each in wanted.get("fsmap", ()):
            _strict(each, _FSMAP)
            access = "ro" if each.get("readOnly") else "rw"
            mounts.append(
                message("Mount")(
                    destination=each["path"],
                    type="bind",
                    source=f"{shared}/{each['source']}",
                    options=["rbind", "rprivate", access],
                )
            )
        spec = message("Spec")(
            process=_process(told),
            root=message("Root")(
                Path=f"{shared}/{wanted['image']}/{wanted['rootfs']}",
                Readonly=bool(wanted.get("readOnly", False)),
            ),
            Mounts=mounts,
            linux=message("Linux")(
                Namespaces=[message("LinuxNamespace")(Type="mount")],
                Resources=message("LinuxResources")(),
            ),
        )
        request: Any = message("CreateContainerRequest")(
            container_id=container_id,
            exec_id=container_id,
            string_user=_user(told),
            OCI=spec,
        )
        await self._sandbox.create_container(request)
        container = self._sandbox.container(container_id)
        self._connect(container_id, told, container.init)
        try:
            await self._sandbox.start_container(container_id)
        except AgentError:
            await self._sandbox.remove_container(container_id)
            raise

    async def _forget(self, container_id: str) -> None:
        """hyperstart frees a container with its end."""
        if container_id in self._sandbox.containers:
            await self._sandbox.remove_container(container_id)

    async def _exec(self, data: dict[str, Any]) -> None:
        told = data["process"]
        container = self._sandbox.container(data["container"])
        request: Any = message("ExecProcessRequest")(
            container_id=container.id,
            exec_id=told["id"],
            string_user=_user(told),
            process=_process(told),
        )
        await container.exec(request)
        self._connect(container.id, told, container.process(told["id"]))

    def _kill(self, container_id: str, exec_id: str, signal: int) -> None:
        self._sandbox.container(container_id).signal(exec_id or container_id, signal)

    def _connect(self, container_id: str, told: dict[str, Any], process: Process) -> None:
        """Carry the streams of a process from now on."""
        stdio, stderr = int(told["stdio"]), int(told.get("stderr", 0))
        if not stdio or bool(stderr) == process.terminal:
            raise AgentError("the numbers of its streams do not fit the process")
        self._by_number[stdio] = process
        self._loop.start(self._carry(container_id, process, stdio, stderr))

    async def _carry(self, container_id: str, process: Process, stdio: int, stderr: int) -> None:
        await process.connected
        errors = self._loop.start(self._copy(process.stderr, stderr))
        await self._copy(process.stdout, stdio)
        await errors
        self._streams(hyperstart.encode_stream(stdio))
        try:
            status = await process.ended
        except AgentError:
            status = 127
        self._by_number.pop(stdio, None)
        if process.id == container_id and process.pid:
            await self._forget(container_id)
        event = {
            "container": container_id,
            "process": process.id,
            "event": "finished",
            "status": status,
        }
        self._say(hyperstart.PROCESS_ENDED, json.dumps(event).encode())

    async def _copy(self, output: Output | None, number: int) -> None:
        while output is not None and (data := await output.read(_CHUNK, 1)):
            self._streams(hyperstart.encode_stream(number, data, limit=hyperstart.MAX_SENT))


async def _quietly(work: Any) -> None:
    """What a process does not read is lost, as hyperstart has it."""
    try:
        await work
    except AgentError:
        return


def _strict(data: dict[str, Any], known: set[str]) -> dict[str, Any]:
    unknown = sorted(set(data) - known)
    if unknown:
        raise AgentError(f"there is no key {unknown[0]!r}")
    return data


def _process(told: dict[str, Any]) -> Any:
    for each in told.get("envs", ()):
        _strict(each, _ENV)
    return message("Process")(
        Terminal=bool(told.get("terminal", False)),
        Args=list(told["args"]),
        Env=[f"{each['env']}={each['value']}" for each in told.get("envs", ())],
        Cwd=told.get("workdir", "") or "/",
    )


def _user(told: dict[str, Any]) -> Any:
    return message("StringUser")(
        uid=told.get("user", ""),
        gid=told.get("group", ""),
        additionalGids=list(told.get("additionalGroups", ())),
    )
