"""Ports of the host that lead to ports of a running pod, for as long as somebody asks for it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from vctui.engine import watch
from vctui.engine.context import Context
from vctui.engine.loopback import Loopback
from vctui.errors import HostProblem, NotFound, VctuiError, WrongState
from vctui.linux import probe, relay, sockets
from vctui.model.pod import PodRecord
from vctui.model.ports import BoundPort, PortPair
from vctui.model.state import LIVE

log = logging.getLogger(__name__)

LOOPBACK: Final = ("127.0.0.1", "::1")
"""Nobody but users of this host gets there."""
_CONNECT_PATIENCE: Final = 5.0
"""Seconds for an address of the pod to answer; the next one is tried then."""
_MAX_CONNECTIONS: Final = 400
"""At once; each takes two of the thousand files that a process usually may have open."""
_FREE_PORT_TRIES: Final = 8

Tell = Callable[[str], None]
"""Told in a sentence why a connection was not carried."""


@contextlib.asynccontextmanager
async def forward(
    ctx: Context,
    pod_id: str,
    pairs: Sequence[PortPair],
    *,
    addresses: Sequence[str] = LOOPBACK,
    tell: Tell = log.info,
) -> AsyncIterator[Forward]:
    """Listen on the host while the block runs.

    Args:
        addresses: of the host to listen on; of the loopback ones, those that it has.

    Raises:
        NotFound, WrongState: the pod is not there or does not run.
        HostProblem: a port cannot be listened on; none is then.
    """
    _live(ctx, pod_id)
    made = Forward(ctx, pod_id, tell)
    try:
        for pair in pairs:
            await made.listen(pair, addresses)
        yield made
    finally:
        await made.close()


class Forward:
    def __init__(self, ctx: Context, pod_id: str, tell: Tell) -> None:
        self.bound: tuple[BoundPort, ...] = ()
        """Where connections are taken."""
        self._ctx = ctx
        self._pod_id = pod_id
        self._tell = tell
        self._loopback = Loopback(ctx, pod_id)
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def connections(self) -> int:
        """How many are carried at the moment."""
        return len(self._connections)

    async def until_pod_ends(self) -> None:
        """Never returns.

        Raises:
            NotFound, WrongState: the pod has ended, and why.
        """
        async with contextlib.aclosing(watch.changes(self._ctx)) as changes:
            async for _change in changes:
                _live(self._ctx, self._pod_id)

    async def listen(self, pair: PortPair, addresses: Sequence[str]) -> None:
        """Take connections on a port, the same one on each address. Raises HostProblem."""
        wanted = [one for one in addresses if one != LOOPBACK[1] or probe.has_ipv6()]
        for left in reversed(range(1 if pair.host_port else _FREE_PORT_TRIES)):
            servers: list[asyncio.Server] = []
            port, address = pair.host_port, ""
            try:
                for address in wanted:
                    servers.append(await self._serve(address, port, pair.pod_port))
                    port = servers[0].sockets[0].getsockname()[1]
            except BaseException as error:
                await sockets.stop(*servers)
                if not isinstance(error, OSError):
                    raise
                if left and error.errno == errno.EADDRINUSE:
                    continue  # free on one address only
                reason = os.strerror(error.errno) if error.errno else str(error)
                raise HostProblem(
                    f"cannot listen on port {port} of {address} for pod {self._pod_id!r}: "
                    f"{reason}; choose another port, or 0 for a free one"
                ) from error
            self._servers += servers
            self.bound += tuple(BoundPort(one, port, pair.pod_port) for one in wanted)
            return

    async def _serve(self, address: str, port: int, pod_port: int) -> asyncio.Server:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._accept((reader, writer), pod_port)

        return await asyncio.start_server(accept, address, port)

    async def close(self) -> None:
        """Take no more connections and break those that are left."""
        await sockets.stop(*self._servers)
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, client: relay.Connection, port: int) -> None:
        if len(self._connections) >= _MAX_CONNECTIONS:
            self._tell(f"{_MAX_CONNECTIONS} connections are open; another one was refused")
            relay.reset(client[1])
            return
        task = asyncio.create_task(self._carry(client, port))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _carry(self, client: relay.Connection, port: int) -> None:
        try:
            server = await self._connect(port)
            if server is None:
                await self._loopback.carry(client, port)
        except VctuiError as error:
            self._tell(str(error))
            relay.reset(client[1])
            return
        except BaseException:
            relay.reset(client[1])
            raise
        if server is not None:
            await relay.relay(client, server)

    async def _connect(self, port: int) -> relay.Connection | None:
        """A connection to the pod, at the first of its addresses that answers; None where nobody
        listens there, or the host does not get there."""
        for address in _addresses(_live(self._ctx, self._pod_id)):
            try:
                async with asyncio.timeout(_CONNECT_PATIENCE):
                    return await asyncio.open_connection(address, port)
            except ConnectionRefusedError:
                return None
            except (OSError, TimeoutError) as error:
                log.debug("%s port %d: %s", address, port, error)
        return None


def _live(ctx: Context, pod_id: str) -> PodRecord:
    try:
        record = ctx.store.pod(pod_id)
    except NotFound as error:
        raise NotFound(f"there is no pod {pod_id!r} any more to forward ports to") from error
    if record.state not in LIVE:
        why = f" ({record.reason})" if record.reason else ""
        raise WrongState(
            f"pod {pod_id!r} is {record.state}{why}, so no port leads to it; start it first"
        )
    return record


def _addresses(record: PodRecord) -> list[str]:
    """Of the pod, without their prefix lengths."""
    endpoints = record.network.endpoints if record.network else ()
    found = [
        ipaddress.ip_interface(text).ip for one in endpoints for text in one.interface.addresses
    ]
    return [str(ip) for ip in found if not ip.is_link_local]
