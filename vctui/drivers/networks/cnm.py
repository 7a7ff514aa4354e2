"""CNM: somebody else fills the namespace, before the pod starts or in its pre-start hooks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vctui.drivers.networks.base import Network
from vctui.model.network import Attachment, Endpoint, NetworkConfig


class CnmNetwork(Network):
    def plan(self, config: NetworkConfig, taken: Sequence[str] = ()) -> tuple[Attachment, ...]:
        """Nothing is joined by us."""
        return ()

    async def prepare(
        self, pod_id: str, netns: Path, attachments: Sequence[Attachment]
    ) -> tuple[Attachment, ...]:
        """What is in the namespace is what there is."""
        return ()

    async def check(
        self,
        pod_id: str,
        netns: Path,
        attachments: Sequence[Attachment],
        endpoints: Sequence[Endpoint],
    ) -> None:
        """Nothing was promised by us."""

    async def remove(
        self, pod_id: str, netns: Path | None, attachments: Sequence[Attachment]
    ) -> None:
        """Interfaces of others stay, or go with the namespace."""
