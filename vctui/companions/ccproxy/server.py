"""The proxy's socket, and the virtual machines that are registered."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from vctui.companions.ccproxy.client import Client
from vctui.companions.ccproxy.messages import BadRequest
from vctui.companions.ccproxy.vm import Vm
from vctui.linux import sockets


class Server:
    """
    Args:
        path: where it listens; a file that is there is replaced.
        of_pod: it serves one machine, and ends with it.
        patience: seconds for a shim to come, or for a process to start.
        debug: commands are logged as they come.
    """

    def __init__(
        self, path: Path, *, of_pod: bool, patience: float = 30.0, debug: bool = False
    ) -> None:
        self.url = f"unix://{path}"
        self.patience = patience
        self.debug = debug
        self._path = path
        self._of_pod = of_pod
        self._vms: dict[str, Vm] = {}
        self._clients: set[asyncio.Task[None]] = set()
        self._leaving = asyncio.Event()

    async def run(self) -> None:
        """Until `leave`, or the end of the pod's machine. Raises OSError."""
        self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        listening = sockets.listen(self._path, backlog=128)
        server = await asyncio.start_unix_server(self._client, sock=listening)
        try:
            await self._leaving.wait()
        finally:
            await sockets.stop(server)
            self._path.unlink(missing_ok=True)
            for vm in self._vms.values():
                vm.close()
            for client in tuple(self._clients):
                client.cancel()
            await asyncio.gather(*self._clients, return_exceptions=True)

    def leave(self) -> None:
        self._leaving.set()

    async def register(self, vm: Vm) -> None:
        """Take up a machine whose guest is ready. Raises BadRequest."""
        if vm.name in self._vms:
            raise BadRequest(f"{vm.name!r} is registered already")
        if self._of_pod and self._vms:
            raise BadRequest("this proxy has its pod's virtual machine already")
        self._vms[vm.name] = vm
        try:
            await vm.connect()
        except BaseException:
            vm.close()
            del self._vms[vm.name]
            raise

    def vm(self, name: str) -> Vm:
        """Raises BadRequest."""
        if name not in self._vms:
            raise BadRequest(f"there is no virtual machine {name!r}")
        return self._vms[name]

    def with_token(self, token: str) -> Vm | None:
        return next((vm for vm in self._vms.values() if token in vm.sessions), None)

    def forget(self, name: str) -> None:
        """Raises BadRequest."""
        vm = self.vm(name)
        del self._vms[name]
        if self._of_pod:
            task = asyncio.create_task(self._leave_after(vm))
            self._clients.add(task)
            task.add_done_callback(self._clients.discard)

    async def _leave_after(self, vm: Vm) -> None:
        await vm.lost.wait()
        self.leave()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(Client(self, writer).serve(reader))
        self._clients.add(task)
        # it is only cancelled when we leave, and asyncio's streams log that as an accident
        with contextlib.suppress(asyncio.CancelledError):
            await task
        self._clients.discard(task)
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
