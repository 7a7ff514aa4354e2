"""The virtio-serial ports and the share between a guest and its host, by their names in the guest.

The chardev behind a port carries the port's name in QEMU, too.
"""

from __future__ import annotations

from typing import Final

CHANNEL: Final = "agent.channel.0"
"""ttrpc, in both directions."""
LOG: Final = "agent.log.0"
"""The agent's log, lines of text towards the host."""
SHARE_TAG: Final = "kataShared"
"""The pod's share."""
