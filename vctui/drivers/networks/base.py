"""Network: who fills a pod's network namespace with interfaces (virtcontainers' network interface).

A driver does no more than that. The engine makes the namespace, and afterwards scans it, wires what
is in it to the machine and configures the guest, alike for every driver.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from vctui.model.network import Attachment, Endpoint, NetworkConfig


class Network(ABC):
    has_namespace: ClassVar[bool] = True
    """Whether a pod on it has a network namespace at all."""

    @abstractmethod
    def plan(self, config: NetworkConfig, taken: Sequence[str] = ()) -> tuple[Attachment, ...]:
        """What a pod with this configuration will join, without results; empty where nobody is
        asked for interfaces. Nothing is made.

        Args:
            taken: names of interfaces that the pod's namespace has already.

        Raises:
            InvalidConfig, FileProblem, MissingProgram, NotFound: it cannot be, with the remedy.
        """

    @abstractmethod
    async def prepare(
        self, pod_id: str, netns: Path, attachments: Sequence[Attachment]
    ) -> tuple[Attachment, ...]:
        """Put the interfaces into the namespace; gives the attachments with what came of them.

        The store has `attachments` before this is called, and calls `remove` with them where this
        fails, is cancelled, or dies with its process.

        Raises:
            NetworkError: which network, and what went wrong.
        """

    @abstractmethod
    async def check(
        self,
        pod_id: str,
        netns: Path,
        attachments: Sequence[Attachment],
        endpoints: Sequence[Endpoint],
    ) -> None:
        """Look whether all is as `prepare` left it.

        Args:
            endpoints: how the interfaces were wired since: some gave their hardware address, or
                all addresses, to the guest.

        Raises:
            NetworkError: it is not.
        """

    @abstractmethod
    async def remove(
        self, pod_id: str, netns: Path | None, attachments: Sequence[Attachment]
    ) -> None:
        """Take it all away, whatever `prepare` had come to. Idempotent; goes on to the next network
        where one fails.

        Args:
            netns: None where the namespace is gone already (after a reboot).

        Raises:
            NetworkError: of the first that failed, after the others were removed.
        """
