"""`--trace`: record where the time of a command goes, from the start of its process on."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec

import click

from vctui.errors import VctuiError

if TYPE_CHECKING:
    from vctui.telemetry.trace import Recording

P = ParamSpec("P")


def traced(callback: Callable[P, None]) -> Callable[P, None]:
    """Give a click callback the option `--trace`; what it calls finds telemetry.trace recording.

    An error carries the steps until then as notes, which are shown below it.
    """

    @click.option("--trace", is_flag=True, help="Show where the time went.")
    @functools.wraps(callback)
    def recorded(*args: P.args, **kwargs: P.kwargs) -> None:
        if not kwargs.pop("trace"):
            callback(*args, **kwargs)
            return
        from vctui.linux import process
        from vctui.model.timeline import Step
        from vctui.telemetry import trace

        began = process.start_time(os.getpid())
        with trace.recording(began) as recording:
            took = trace.clock() - began
            recording.add((Step(name="start the command", begin=began, took=took),))
            try:
                callback(*args, **kwargs)
            except VctuiError as error:
                for line in _lines(recording):
                    error.add_note(line)
                raise

    return recorded


def _lines(recording: Recording) -> list[str]:
    """Each step and what it took."""
    from vctui.present import timeline

    rows = timeline.rows(recording.timeline("", ""))
    width = max((len(row.label) for row in rows), default=0)
    return [
        f"{row.label:<{width}}  {timeline.milliseconds(row.step.took):>8}  {row.bar}"
        for row in rows
    ]
