"""What can happen to a pod, a container, a machine: the rows of the append-only event log."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec


class EventKind(StrEnum):
    POD_CREATED = "pod-created"
    POD_STARTING = "pod-starting"
    POD_STARTED = "pod-started"
    POD_STOPPING = "pod-stopping"
    POD_STOPPED = "pod-stopped"
    POD_PAUSED = "pod-paused"
    POD_RESUMED = "pod-resumed"
    POD_RESIZED = "pod-resized"
    """Its machine was given processors or memory, or gave processors back."""
    POD_DELETED = "pod-deleted"
    CONTAINER_CREATED = "container-created"
    CONTAINER_STARTED = "container-started"
    CONTAINER_STOPPED = "container-stopped"
    CONTAINER_KILLED = "container-killed"
    CONTAINER_DELETED = "container-deleted"
    PROCESS_STARTED = "process-started"
    PROCESS_EXITED = "process-exited"
    NETWORK_CONNECTED = "network-connected"
    """A running pod got an interface."""
    NETWORK_DISCONNECTED = "network-disconnected"
    MACHINE_DIED = "machine-died"
    MONITOR_ADOPTED = "monitor-adopted"
    """A new monitor took over a running machine."""
    RECOVERED = "recovered"
    """A change that somebody left half done was undone or completed."""
    WARNING = "warning"
    FAILED = "failed"
    """An operation failed; the message is the error's sentence."""


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One row. `seq` is given by the store and rises without gaps that matter to a reader."""

    kind: EventKind
    pod_id: str
    message: str
    time: datetime
    container_id: str = ""
    token: str = ""
    seq: int = 0
