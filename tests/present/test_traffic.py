"""Counters become rates, and rates pictures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.model.traffic import Traffic
from vctui.present.traffic import KEPT, Meter, line, rate, sparkline


def seen(received: int, sent: int = 0, interface: str = "eth0") -> Traffic:
    return Traffic(
        interface=interface, received=received, sent=sent, received_packets=0, sent_packets=0
    )


def test_two_samples_make_a_rate() -> None:
    meter = Meter()
    meter.sample(10.0, [seen(1000, 50)])
    assert meter.rates("eth0") == ((), ())
    assert line("eth0", meter.rates("eth0")) == ""
    meter.sample(12.0, [seen(3000, 150), seen(7, interface="eth1")])
    assert meter.rates("eth0") == ((1000.0,), (50.0,))
    assert meter.rates("eth1") == ((), ())
    assert meter.rates("none") == ((), ())
    assert line("eth0", meter.rates("eth0")).split() == [
        "eth0", "received", "1000", "B/s", "█", "sent", "50", "B/s", "▁",
    ]  # fmt: skip


def test_counters_that_go_back_begin_anew() -> None:
    meter = Meter()
    for moment, count in enumerate((100, 200, 10)):
        meter.sample(moment, [seen(count)])
    assert meter.rates("eth0") == ((), ())
    meter.sample(3, [seen(30)])
    assert meter.rates("eth0").received == (20.0,)


def test_an_interface_that_was_away_begins_anew() -> None:
    meter = Meter()
    meter.sample(0, [seen(100)])
    meter.sample(1, [])
    meter.sample(2, [seen(300)])
    assert meter.rates("eth0") == ((), ())


def test_only_so_much_is_remembered() -> None:
    meter = Meter()
    for moment in range(KEPT + 10):
        meter.sample(moment, [seen(moment)])
    assert len(meter.rates("eth0").sent) == KEPT


@pytest.mark.parametrize(
    ("values", "width", "picture"),
    [
        ((), 8, ""),
        ((0, 1e6, 5e5, 1), 8, " █▅▁"),
        ((1e6, 1e6, 1e3), 2, "█▁"),
        ((10, 1024), 4, "▁█"),
        ((10,), 4, "▁"),
        ((1, 2), 0, ""),
    ],
)
def test_a_picture_shows_the_last_values(values, width, picture) -> None:
    assert sparkline(values, width) == picture


@given(st.lists(st.floats(0, 1e12), max_size=200), st.integers(-5, 200))
def test_a_picture_is_never_wider_than_there_is_room(values: list[float], width: int) -> None:
    assert len(sparkline(values, width)) <= max(width, 0)


def test_rates_have_units() -> None:
    assert rate(1536 * 1024) == "1.5 MiB/s"
