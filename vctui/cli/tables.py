"""The tables of pods and containers: the console's columns, with the state as one word for awk."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from vctui.present import columns, condition
from vctui.present.columns import Cell, Column
from vctui.present.humanize import plain

if TYPE_CHECKING:
    from vctui.model.container import ContainerStatus
    from vctui.model.pod import PodStatus

T = TypeVar("T")


def pod_columns() -> tuple[Column[PodStatus], ...]:
    """With the reason of what went wrong besides."""
    reason: Column[PodStatus] = Column(
        id="reason",
        title="REASON",
        cell=lambda status, now: Cell(plain(status.reason)),
        sort_key=lambda status: status.reason,
        width=10,
        most=-1,
        priority=6,
    )
    return (*_worded(columns.PODS, condition.of_pod), reason)


def container_columns() -> tuple[Column[ContainerStatus], ...]:
    return _worded(columns.CONTAINERS, condition.of_container)


def _worded(
    shown: tuple[Column[T], ...], of: Callable[[T], condition.Condition]
) -> tuple[Column[T], ...]:
    def word(status: T, _now: datetime) -> Cell:
        it = of(status)
        return Cell(it.word, it.role)

    return tuple(
        dataclasses.replace(column, cell=word) if column.id == "state" else column
        for column in shown
    )
