"""Where the time of an operation went, step by step."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec


class Where(StrEnum):
    """On which side a step was measured, by that side's clock."""

    HOST = "host"
    GUEST = "guest"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """Something that took time."""

    name: str
    begin: float
    """Seconds since the timeline's beginning; a guest's clock is read to a few milliseconds."""
    took: float
    """Seconds."""
    depth: int = 0
    """Of a step of the host: how many others it is part of."""
    where: Where = Where.HOST


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """One operation. Its steps stand in the order of their beginnings, wholes before parts."""

    pod_id: str
    operation: str
    began: datetime
    took: float
    """Seconds, from the beginning to the end of the last step."""
    steps: tuple[Step, ...]
