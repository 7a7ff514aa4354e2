"""Wiring: how an interface of a pod's namespace comes to the machine (sheet §6.5 to §6.7).

Everything is called in the pod's namespace, in a thread of its own (linux/netns): nothing here
waits for long.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection

from vctui.model.network import Endpoint


class Wiring(ABC):
    @abstractmethod
    def plan(self, endpoint: Endpoint, taken: Collection[str]) -> Endpoint:
        """The endpoint with the names of what `connect` will make. Pure.

        Args:
            taken: names of links that there are already.

        Raises:
            InvalidConfig: this kind of interface cannot be wired so.
        """

    @abstractmethod
    def connect(self, endpoint: Endpoint) -> None:
        """Make it. What was made when this fails is for `disconnect`.

        Raises:
            HostProblem: the kernel lacks a feature, which is named.
            OSError: it refuses.
        """

    def check(self, endpoint: Endpoint) -> None:  # noqa: B027 - for most there is nothing
        """Look whether what `connect` relied on is still there.

        Raises:
            NetworkError: it is not, with the remedy.
        """

    @abstractmethod
    def disconnect(self, endpoint: Endpoint) -> None:
        """Take away what `connect` makes, whatever it had come to, and leave the interface as it
        was. Idempotent; an interface that is gone is no error.

        Raises:
            OSError: the kernel refuses.
        """


def free_name(prefix: str, index: int, taken: Collection[str]) -> str:
    """`tap0`, or one that is free where that is not."""
    name = f"{prefix}{index}"
    while name in taken:
        index += 1000
        name = f"{prefix}{index}"
    return name


def substitute_mac(index: int) -> str:
    """What an interface has for a MAC while the guest has its own (sheet §6.4)."""
    return f"02:00:ca:fe:{index >> 8 & 255:02x}:{index & 255:02x}"
