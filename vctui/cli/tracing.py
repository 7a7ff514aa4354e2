"""`--trace`: record where the time of a command goes, from the start of its process on."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import ParamSpec

import click

P = ParamSpec("P")


def traced(callback: Callable[P, None]) -> Callable[P, None]:
    """Give a click callback the option `--trace`; what it calls finds telemetry.trace recording."""

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
            callback(*args, **kwargs)

    return recorded
