"""What went through a pod's network interfaces, as the guest sees it."""

from __future__ import annotations

import msgspec


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """Since the machine's start. Counted on the host: the guest cannot lie about it."""

    interface: str
    """Its name in the guest."""
    received: int
    """Bytes."""
    sent: int
    received_packets: int
    sent_packets: int
