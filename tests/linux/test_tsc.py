"""The time stamp counter's frequency."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from vctui.linux import tsc


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="needs an x86-64 processor")
async def test_it_is_measured_alike_twice():
    first, second = await tsc.frequency_khz(), await tsc.frequency_khz()
    if first == 0:
        pytest.skip("needs a host that allows code in anonymous memory")
    assert 100_000 < first < 20_000_000
    assert abs(first - second) < first / 200


async def test_another_processor_has_none(monkeypatch):
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine="aarch64"))
    assert await tsc.frequency_khz() == 0
