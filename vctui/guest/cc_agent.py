"""The agent as Clear Containers had it: hyperstart's protocol, with other customs (hyperstart
sheet). It knows more keys and fewer commands, says the end of a process among its output, keeps a
container until it is removed, and never powers the guest off.
"""

from __future__ import annotations

from vctui.errors import AgentError
from vctui.guest import sandbox as guest
from vctui.guest.document import dumps
from vctui.guest.hyper import Hyper
from vctui.guest.uevents import Uevents
from vctui.wire import hyperstart
from vctui.wire.proto import message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from vctui.guest.process import Process
    from vctui.wire.hyperstart import Control

_KNOWN = {
    *(hyperstart.START_POD, hyperstart.DESTROY_POD, hyperstart.NEW_CONTAINER),
    *(hyperstart.EXEC_COMMAND, hyperstart.KILL_CONTAINER, hyperstart.REMOVE_CONTAINER),
    *(hyperstart.PS_CONTAINER, hyperstart.WINDOW_SIZE, hyperstart.PING, hyperstart.READY),
}


class CcAgent(Hyper):
    has_next = False
    powers_off = False
    input_room = None

    def greet(self) -> None:
        super().greet()
        self.loop.start(self._use_what_comes())

    async def _use_what_comes(self) -> None:
        """Processors and memory that are plugged in; nobody tells of them."""
        with Uevents(self.loop) as events:
            while True:
                await guest.online(self.loop, self.config.sys, 0, memory=True)
                await events.heard()

    def check(self, data: dict[str, Any], known: set[str]) -> dict[str, Any]:
        """Unknown keys are of no interest."""
        return data

    async def do(self, one: Control, data: dict[str, Any]) -> bytes:
        if one.command not in _KNOWN:
            raise AgentError(f"there is no handler for command {one.command}")
        if one.command == hyperstart.START_POD and self.started:
            raise AgentError("the pod is started already")
        if one.command == hyperstart.REMOVE_CONTAINER:
            if not self.sandbox.container(data["container"]).init.ended.done:
                raise AgentError(f"container {data['container']} runs")
            await self.sandbox.remove_container(data["container"])
        elif one.command == hyperstart.PS_CONTAINER:
            return await self._list(data)
        elif one.command == hyperstart.WINDOW_SIZE:
            if (process := self.by_number.get(int(data["seq"]))) is not None:
                process.resize(data["row"], data["column"])
        elif one.command == hyperstart.KILL_CONTAINER and data.get("allProcesses"):
            self.sandbox.container(data["container"]).signal_all(data["signal"])
        else:
            return await super().do(one, data)
        return b""

    async def tell_end(self, container_id: str, process: Process, stdio: int, status: int) -> None:
        self.stream(hyperstart.encode_stream(stdio, bytes((status & 0xFF,))))

    def check_order(self, data: dict[str, Any]) -> None:
        """Keys come in any order."""

    def answer_unknown(self, sequence: int) -> None:
        """Input for nobody is dropped."""

    async def _list(self, data: dict[str, Any]) -> bytes:
        """As JSON, PIDs alone; of the guest, as everywhere."""
        if data["format"] == "json":
            return dumps(self.sandbox.container(data["container"]).cgroup.pids()).encode()
        request: Any = message("ListProcessesRequest")(
            container_id=data["container"], format=data["format"], args=data.get("psargs") or []
        )
        listed: bytes = (await self.service.list_processes(request, 0)).process_list
        return listed
