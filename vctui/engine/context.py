"""What every operation of the engine works with, put together once."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from vctui.engine import paths, registry
from vctui.errors import AgentUnreachable
from vctui.model.events import Event, EventKind
from vctui.wire import ttrpc

if TYPE_CHECKING:
    from vctui.drivers.agents.base import Agent
    from vctui.drivers.hypervisors.base import Hypervisor
    from vctui.drivers.proxies.base import Proxy
    from vctui.drivers.shims.base import Shim
    from vctui.model.pod import PodRecord
    from vctui.settings import Settings
    from vctui.store.base import Store, Transaction

Progress = Callable[[str], None]
"""Told in a few words what a long operation is doing."""


def no_progress(_phase: str) -> None:
    pass


def now() -> datetime:
    return datetime.now(UTC)


def event(kind: EventKind, pod_id: str, message: str, container_id: str = "") -> Event:
    return Event(kind=kind, pod_id=pod_id, message=message, container_id=container_id, time=now())


class Context(msgspec.Struct, frozen=True):
    settings: Settings
    store: Store
    read_only: bool = False
    """Repairs are changes, too: left-overs stay for an engine that may."""

    def paths(self, pod_id: str) -> paths.PodPaths:
        return paths.of_pod(self.settings, pod_id)

    def hypervisor(self, record: PodRecord) -> Hypervisor:
        return registry.hypervisor(record.config.hypervisor_type, self.settings)

    def proxy(self, record: PodRecord) -> Proxy:
        return registry.proxy(record.config, self.settings)

    def shim(self, record: PodRecord) -> Shim:
        return registry.shim(record.config)

    @contextlib.asynccontextmanager
    async def agent(self, record: PodRecord) -> AsyncIterator[Agent]:
        """A connection to the pod's agent for the length of the block.

        A monitor that has just taken over is given the time to find the agent again.
        """
        agent = registry.agent(record.config.agent_type, self.settings)
        proxy, run_dir = self.proxy(record), self.paths(record.id).run
        timeout = self.settings.timeouts.agent
        try:
            url = await proxy.wait_agent(run_dir, timeout=timeout)
        except AgentUnreachable as error:
            if error.code == ttrpc.FAILED_PRECONDITION:  # given up for as long as the machine lives
                raise AgentUnreachable(f"{error}; restart the pod", code=error.code) from error
            raise
        await agent.connect(url, timeout=timeout)
        try:
            yield agent
        finally:
            await agent.close()

    def note(self, kind: EventKind, pod_id: str, message: str, container_id: str = "") -> None:
        """Append one event outside any change."""
        with self.store.transaction() as tx:
            tx.emit(event(kind, pod_id, message, container_id))

    def save(self, change: Callable[[Transaction], None]) -> None:
        with self.store.transaction() as tx:
            change(tx)
