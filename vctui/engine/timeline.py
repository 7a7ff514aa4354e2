"""The timeline of a pod's last start, kept beside its logs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgspec

from vctui.drivers.agents.base import Agent
from vctui.engine.context import Context
from vctui.errors import AgentError
from vctui.linux.files import write_atomic
from vctui.linux.problems import host_problem
from vctui.model.timeline import Timeline
from vctui.telemetry import trace

_FILE = "timeline.json"


@contextlib.contextmanager
def kept(ctx: Context, pod_id: str, operation: str) -> Iterator[None]:
    """Keep what the block took, where somebody records."""
    with trace.span(f"{operation} pod {pod_id}"):
        yield
    recorded = trace.current()
    if recorded is None:
        return
    path = ctx.paths(pod_id).logs / _FILE
    try:
        write_atomic(path, msgspec.json.encode(recorded.timeline(pod_id, operation)))
    except OSError as error:
        raise host_problem(error, f"keep the timeline of pod {pod_id!r}") from error


def forget(ctx: Context, pod_id: str) -> None:
    """A start that is not recorded must not be taken for one that was."""
    (ctx.paths(pod_id).logs / _FILE).unlink(missing_ok=True)


async def ask_guest(agent: Agent, *, since: float) -> None:
    """Add what the guest has measured; one that does not answer has measured nothing.

    Args:
        since: when it began to be this pod's, by the trace's clock; what it did as a template
            before took none of this start's time.
    """
    recorded = trace.current()
    if recorded is not None:
        with contextlib.suppress(AgentError):
            recorded.add(step for step in await agent.timeline() if step.begin >= since)


def read(ctx: Context, pod_id: str) -> Timeline | None:
    """None where the last start was not recorded. Raises NotFound."""
    ctx.store.pod(pod_id)
    try:
        return msgspec.json.decode((ctx.paths(pod_id).logs / _FILE).read_bytes(), type=Timeline)
    except (OSError, msgspec.DecodeError):
        return None
