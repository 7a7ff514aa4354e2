"""From which template a pod begins, and when it grows from a smaller one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.plans import machine_plan
from vctui.drivers.hypervisors.base import MachinePlan, Size
from vctui.engine.templates import _grows

MOST = Size(vcpus=4, memory=16 * 1024)


def plan(vcpus: int, memory: int) -> MachinePlan:
    return machine_plan(Path("/run"), vcpus=vcpus, memory=memory)


@pytest.mark.parametrize(
    ("vcpus", "memory", "grows"),
    [
        (1, 256, True),
        (4, 256, True),
        (1, 384, True),
        (2, 2048, True),
        (5, 256, False),
        (1, 128, False),
        (1, 300, False),
        (1, 2176, False),
    ],
    ids=lambda value: str(value),
)
def test_a_machine_grows_to_exactly_what_the_pod_wants_or_not_at_all(vcpus, memory, grows):
    assert _grows(plan(1, 256), plan(vcpus, memory), MOST) == grows


def test_a_machine_of_fixed_size_does_not_grow():
    fixed = Size(vcpus=0, memory=0)
    assert not _grows(plan(1, 256), plan(2, 256), fixed)
    assert not _grows(plan(1, 256), plan(1, 384), fixed)
    assert _grows(plan(1, 256), plan(1, 256), fixed)


def test_fewer_processors_than_usual_are_not_had_by_growing():
    assert not _grows(plan(2, 256), plan(1, 256), MOST)
