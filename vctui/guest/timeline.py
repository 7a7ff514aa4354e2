"""What took how long in the guest, for a host that asks where the time went."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
else:
    from _collections import deque

_KEPT = 256


def now() -> int:
    """Nanoseconds since the guest's kernel began."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Timeline:
    """The newest steps: name, begin, end, by `now`."""

    def __init__(self, began: int) -> None:
        self.began = began
        """When the agent's first line was executed."""
        self._steps: deque[tuple[str, int, int]] = deque(maxlen=_KEPT)

    def add(self, name: str, begin: int) -> None:
        """A step that ends now."""
        self._steps.append((name, begin, now()))

    def steps(self) -> list[tuple[str, int, int]]:
        return list(self._steps)
