"""cc-shim's command line, and what it leaves to us (proxies-and-shims sheet, §1.3, §5)."""

from __future__ import annotations

from collections.abc import Sequence

from vctui.companions.monitor.cc_link import CcLink
from vctui.companions.monitor.program_shim import Family
from vctui.linux import process
from vctui.model.shim import ShimConfig
from vctui.wire import monitor


class CcShim(Family):
    """A token serves one program; who comes later would crash a cc-proxy."""

    can_follow = False

    def __init__(self, config: ShimConfig, link: CcLink) -> None:
        self._config = config
        self._link = link
        self._tokens: dict[str, str] = {}

    async def prepare(self, start: monitor.StartShim) -> None:
        self._tokens[start.token] = await self._link.token(start.token)

    def argv(self, start: monitor.StartShim) -> Sequence[str]:
        return (
            self._config.path,
            *("-c", start.container_id),
            *("-t", self._tokens.pop(start.token)),
            *("-u", f"unix://{self._link.serve_at}"),
            *(("-d",) if self._config.debug else ()),
        )

    @property
    def cut_off(self) -> str:
        return self._link.given_up

    async def hopeless(self) -> None:
        """A cc-shim looks for its proxy for ten seconds, and tells each try to the log."""
        await self._link.hopeless()

    async def end_former(self, start: monitor.StartShim) -> None:
        """All of them: those whose streams led to a monitor before us are of no use."""
        for left in process.find_by_argument(self._link.serve_at, beside=[self._config.path]):
            await process.terminate(left.pid, left.started, timeout=0)

    async def resize(self, start: monitor.StartShim, size: monitor.Size) -> None:
        """The signal is enough: a program that is not connected yet is waited for."""

    async def is_true(self, start: monitor.StartShim) -> bool:
        """A cc-shim fails where the guest is gone, of which we may not have heard yet."""
        return await self._link.answers()

    async def kill(self, start: monitor.StartShim) -> None:
        await self._link.kill(start)
