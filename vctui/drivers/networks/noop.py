"""No network: the guest has its loopback device only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from vctui.drivers.networks.base import Network
from vctui.model.network import Attachment, Endpoint, NetworkConfig


class NoopNetwork(Network):
    has_namespace: ClassVar[bool] = False

    def plan(self, config: NetworkConfig, taken: Sequence[str] = ()) -> tuple[Attachment, ...]:
        """Nothing is joined."""
        return ()

    async def prepare(
        self, pod_id: str, netns: Path, attachments: Sequence[Attachment]
    ) -> tuple[Attachment, ...]:
        """Nothing is made."""
        return ()

    async def check(
        self,
        pod_id: str,
        netns: Path,
        attachments: Sequence[Attachment],
        endpoints: Sequence[Endpoint],
    ) -> None:
        """Nothing can be wrong."""

    async def remove(
        self, pod_id: str, netns: Path | None, attachments: Sequence[Attachment]
    ) -> None:
        """Nothing is there."""
