"""The way to a hyperstart guest through a cc-proxy (proxies-and-shims sheet, §1.2, §3), Clear
Containers' own or ours.

The proxy has the guest's two channels, and we have none: each command is a connection to it, and
each process a token. It is started with the machine, since a guest greets but once; so it is not
started again when it ends, and it outlives the monitor that has started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from vctui.companions.monitor import console_socket
from vctui.companions.monitor.cc_connection import Connection
from vctui.companions.monitor.command_link import Ask, CommandLink
from vctui.companions.monitor.lines import clean
from vctui.companions.monitor.proxy_program import ProxyProgram
from vctui.drivers.ttrpc_client import CallFailed, ConnectionLost
from vctui.linux import files
from vctui.model.proxy import ProxyConfig
from vctui.wire import ttrpc
from vctui.wire.ccproxy import Command, Type

if TYPE_CHECKING:
    from vctui.companions.monitor.logfile import LogFile
    from vctui.companions.monitor.standin import OnEnd, StandIn
    from vctui.wire import monitor

TOKENS: Final = "cc-tokens.json"
"""In the pod's folder: the tokens of the processes that were started, for a monitor after us."""
_OURS: Final = (sys.executable, "-P", "-m", "vctui.companions.ccproxy")
_AGAIN: Final = 0.1
_DIAL: Final = 15.0
"""Seconds for the proxy to listen."""
_GREETING: Final = 60.0
"""Seconds for the guest to be ready once it has opened its port; the proxy waits for ever."""
_ANSWER: Final = 60.0
"""Seconds for one command; the proxy itself waits up to 30 s for a shim."""
_GOODBYE: Final = 2.0
"""Seconds for the proxy to end by itself."""
_WORDS: Final = 300
_TOKEN: Final = re.compile(r"[A-Za-z0-9_=-]{1,128}")
"""It goes to a shim's command line."""
_OF_AGENT: Final = "ERROR received from VM agent, control msg received : "
"""What a cc-proxy says before what the agent has said."""


_UNSAID: Final = "it gives no reason"
_HYPERSTART: Final = (
    f"{_UNSAID}, as hyperstart does, which refuses what it does not know, and cc-proxy adds that; "
    "set proxy_type to kataBuiltInProxy, or use a guest with Clear Containers' agent"
)
"""Of a command whose JSON is made for Clear Containers' agent (hyperstart sheet, §9)."""


class CcLink(CommandLink):
    """
    Args:
        config: names the program; "" for our own.
        control, streams: QEMU's sockets of the guest's channels.
        serve_at: where the proxy is to listen.
        log: takes what it writes.
    """

    def __init__(
        self,
        pod_id: str,
        config: ProxyConfig,
        control: Path,
        streams: Path,
        serve_at: Path,
        log: Path,
        warn: Callable[[str], None],
    ) -> None:
        super().__init__(warn)
        self._pod = pod_id
        self._is_ours = not config.path
        self._debug = config.debug
        self._channels = (control, streams)
        self.serve_at = serve_at
        self._file = serve_at.parent / TOKENS
        self._former = _read_tokens(self._file)
        """Of processes that were started, and may run."""
        self._coming: dict[str, asyncio.Task[str]] = {}
        """Tokens of processes that are about to be started, which somebody stands for."""
        self._ignored: set[asyncio.Task[None]] = set()
        self._asking: set[asyncio.Task[bytes]] = set()
        self._turn = asyncio.Lock()
        self._registered = False
        self._unregistered = False
        self._program = ProxyProgram(
            "cc-proxy",
            self.argv(config),
            socket=serve_at,
            log=log,
            needs_syslog=not self._is_ours,
        )

    def argv(self, config: ProxyConfig) -> Sequence[str]:
        return (
            *((config.path,) if config.path else _OURS),
            *("-uri", f"unix://{self.serve_at}"),
            *(("-log", "debug") if config.debug else ()),
        )

    # the proxy's life

    async def run(self, *, adopting: bool) -> None:
        """Stand by the proxy to its end, which is that of the way to the agent."""
        found = self._program.find()
        if adopting and not found:
            self._lose("cc-proxy is gone, and a guest that runs greets no other")
            return
        try:
            if not found:
                self._program.start()
        except OSError as error:
            self._lose(self._program.cannot_start(error))
            return
        registering = asyncio.create_task(self._register(known=found))
        try:
            why = await self._program.ended()
        finally:
            registering.cancel()
            await asyncio.gather(registering, return_exceptions=True)
            self._ready.clear()
        if not self._unregistered:
            self._lose(why)
        self._fail_all()

    async def close(self) -> None:
        """The proxy goes with the machine, and stays where that goes on."""
        await super().close()
        self._fail_all()
        for task in self._ignored:
            task.cancel()
        await asyncio.gather(*self._ignored, return_exceptions=True)
        if self._why:
            await self._program.end()
        elif self.machine_is_gone or self._unregistered:
            await self._unregister()
            await self._program.end(patience=_GOODBYE)

    def port_opened(self) -> None:
        super().port_opened()
        if self._registered:
            self._ready.set()

    def _hang_up(self) -> None:
        self._ready.clear()
        self._fail_all()

    def _fail_all(self) -> None:
        for task in tuple(self._asking):
            task.cancel()

    def _lose(self, why: str) -> None:
        """Give the agent up, for the first reason that there is."""
        if not self._why:
            self._give_up(why)
            self._warn(f"{why}; restart the pod")

    async def _register(self, *, known: bool) -> None:
        """Have the proxy take up the guest; bounded, as it waits for its greeting for ever."""
        control, streams = self._channels
        wanted = {
            "containerId": self._pod,
            "ctlSerial": str(control),
            "ioSerial": str(streams),
            "numIOStreams": 0,
            **(
                {"console": str(self.serve_at.with_name(console_socket.SOCKET))}
                if self._debug
                else {}
            ),
        }
        try:
            connection = await self._dial()
            try:
                if not known or not await self._is_known(connection):
                    asking = asyncio.create_task(connection.ask(Command.REGISTER_VM, wanted))
                    try:
                        async with asyncio.timeout(None) as limit:
                            opened = asyncio.create_task(self._port.wait())
                            either: set[asyncio.Future[Any]] = {asking, opened}
                            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                            opened.cancel()
                            limit.reschedule(asyncio.get_running_loop().time() + _GREETING)
                            await asking
                    finally:
                        asking.cancel()
                        await asyncio.gather(asking, return_exceptions=True)
            finally:
                await connection.close()
        except TimeoutError:
            self._lose(f"cc-proxy has not heard of the agent within {_GREETING:g} s")
        except (CallFailed, OSError) as error:
            self._lose(f"cc-proxy does not take the guest: {_clean(str(error))}")
        if self._why:
            self._program.send(signal.SIGTERM)
            return
        self._registered = True
        if self._port.is_set():
            self._ready.set()

    async def _is_known(self, connection: Connection) -> bool:
        """Whether the proxy that was there has the guest already, and that answers.

        Raises:
            CallFailed, TimeoutError: it does not.
        """
        async with asyncio.timeout(_GREETING):
            try:
                await self._attach(connection, 0)
            except ConnectionLost:
                raise
            except CallFailed:
                return False
            await connection.ask(Command.HYPER, {"hyperName": "ping", "tokens": None})
        return True

    async def _dial(self) -> Connection:
        """Raises OSError where it does not listen for too long."""
        deadline = asyncio.get_running_loop().time() + _DIAL
        while True:
            try:
                return await Connection.open(self.serve_at)
            except OSError:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(_AGAIN)

    async def _unregister(self) -> None:
        """The proxy ends when it has nobody to serve and the machine is gone."""
        self._unregistered = True
        with contextlib.suppress(OSError, CallFailed, TimeoutError):
            async with asyncio.timeout(_GOODBYE):
                connection = await Connection.open(self.serve_at)
                try:
                    await connection.ask(Command.UNREGISTER_VM, {"containerId": self._pod})
                finally:
                    await connection.close()

    # commands

    async def _ask(self, method: str, ask: Ask) -> bytes:
        if method == "version":
            return b""  # who is behind the proxy cannot be told: what all take is Clear Containers'
        if not ask.token:
            try:
                return await self._hyper(method, ask.data, None)
            finally:
                if method == "destroypod":
                    await self._unregister()
        coming = self._coming.pop(ask.token, None)
        try:
            token = await (coming if coming is not None else self._new_token())
            if coming is None:
                self._ignore(token)
            answer = await self._hyper(method, ask.data, [token])
        except CallFailed:
            if self.attendants is not None:
                self.attendants.not_started(ask.token)
            raise
        if ask.end_input and self.attendants is not None:
            await self.attendants.close_input(ask.token)
        return answer

    async def _hyper(self, name: str, data: dict[str, Any], tokens: list[str] | None) -> bytes:
        """Raises CallFailed, ConnectionLost."""
        wanted = {"hyperName": name, "tokens": tokens, **({"data": data} if data else {})}

        async def ask(connection: Connection) -> bytes:
            await self._attach(connection, 0)
            try:
                return await connection.ask(Command.HYPER, wanted)
            except CallFailed as error:
                if isinstance(error, ConnectionLost):
                    raise
                said = error.message.removeprefix(_OF_AGENT).strip("\0 ")
                unsaid = _HYPERSTART if name in {"startpod", "newcontainer"} else _UNSAID
                raise CallFailed(error.code, said or unsaid) from None

        async with self._turn:  # a cc-proxy may mix up the answers to what is asked at one time
            return await self._on_a_connection(ask)

    async def _new_token(self) -> str:
        tokens = await self._on_a_connection(lambda connection: self._attach(connection, 1))
        try:
            given = msgspec.json.decode(tokens, type=_Attached).io.tokens or []
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            given = []
        if len(given) != 1 or not _TOKEN.fullmatch(given[0]):
            raise CallFailed(ttrpc.INTERNAL, "cc-proxy gives no token for a process")
        return given[0]

    async def _attach(self, connection: Connection, streams: int) -> bytes:
        wanted = {"containerId": self._pod, "numIOStreams": streams}
        return await connection.ask(Command.ATTACH_VM, wanted)

    async def _on_a_connection(self, work: Callable[[Connection], Any]) -> bytes:
        """One that is closed afterwards, whatever came of it. Raises CallFailed."""
        task = asyncio.create_task(self._converse(work))
        self._asking.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            if task.cancelled() and not _is_cancelled():
                raise ConnectionLost(self._why or "the agent's channel was closed") from None
            task.cancel()
            raise
        finally:
            self._asking.discard(task)

    async def _converse(self, work: Callable[[Connection], Any]) -> bytes:
        try:
            connection = await Connection.open(self.serve_at)
        except OSError as error:
            raise ConnectionLost(f"cc-proxy is out of reach: {error.strerror}") from error
        try:
            async with asyncio.timeout(_ANSWER):
                answer: bytes = await work(connection)
                return answer
        except TimeoutError:
            raise ConnectionLost(f"cc-proxy did not answer within {_ANSWER:g} s") from None
        finally:
            await connection.close()

    # processes

    async def token(self, name: str) -> str:
        """A fresh token for who is to stand for the process that is started next by this name.

        Raises CallFailed.
        """
        if name not in self._coming:
            self._coming[name] = asyncio.create_task(self._new_token())
        try:
            return await asyncio.shield(self._coming[name])
        except CallFailed:
            self._coming.pop(name, None)
            raise

    def stand_in(
        self,
        start: monitor.StartShim,
        *,
        adopting: bool,
        log: LogFile | None,
        replay_bytes: int,
        on_end: OnEnd,
    ) -> StandIn:
        from vctui.companions.monitor.cc_standin import CcStandIn

        return CcStandIn(
            start,
            link=self,
            former=self._former.get(start.token, "") if adopting else "",
            is_lost=adopting and start.token not in self._former,
            log=log,
            replay_bytes=replay_bytes,
            on_end=on_end,
        )

    async def kill(self, start: monitor.StartShim) -> None:
        """End a container's first process; others cannot be signalled through a cc-proxy."""
        if start.token == start.container_id:
            data = {"container": start.container_id, "signal": 9, "allProcesses": True}
            with contextlib.suppress(CallFailed):
                await self._hyper("killcontainer", data, None)

    async def answers(self) -> bool:
        """Whether the guest does."""
        try:
            await self._hyper("ping", {}, None)
        except CallFailed:
            return False
        return True

    def _ignore(self, token: str) -> None:
        """Nobody stands for the process; somebody must, or the proxy does not begin it."""
        task = asyncio.create_task(_swallow(self.serve_at, token))
        self._ignored.add(task)
        task.add_done_callback(self._ignored.discard)

    def remember(self, name: str, token: str) -> None:
        """For a monitor that comes after us. Only our own proxy lets another shim take over: Clear
        Containers' crashes."""
        if self._is_ours:
            self._former[name] = token
            self._save()

    def forget(self, name: str) -> None:
        if self._former.pop(name, None) is not None:
            self._save()

    def _save(self) -> None:
        with contextlib.suppress(OSError):
            files.write_atomic(self._file, msgspec.json.encode(self._former))


async def _swallow(path: Path, token: str) -> None:
    with contextlib.suppress(OSError, CallFailed):
        connection = await Connection.open(path)
        try:
            await connection.ask(Command.CONNECT_SHIM, {"token": token})
            while (frame := await connection.frame()) is not None:
                if frame.type is Type.NOTIFICATION:
                    break
        finally:
            await connection.close()


def _read_tokens(path: Path) -> dict[str, str]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return {}


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _clean(text: str) -> str:
    return clean(text.encode())[:_WORDS]


class _Io(msgspec.Struct):
    tokens: list[str] | None = None


class _Attached(msgspec.Struct):
    io: _Io
