"""What is found in a listing of the packet filter; the rest is shown with real plugins."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vctui.linux import iptables

LISTING = """-N CNI-ISOLATION-STAGE-1
-A CNI-ISOLATION-STAGE-1 -i vctui0 ! -o vctui0 -m comment --comment "rules (a: b)" -j STAGE-2
-A CNI-ISOLATION-STAGE-1 -i vctui01 -j STAGE-2
-A CNI-ISOLATION-STAGE-1 -j RETURN
-A CNI-ISOLATION-STAGE-2 -o vctui0 -j DROP
"""


def test_rules_about_a_link_are_those_that_name_it_whole() -> None:
    first, second = iptables.rules_about("vctui0", LISTING)
    assert first[:6] == ["CNI-ISOLATION-STAGE-1", "-i", "vctui0", "!", "-o", "vctui0"]
    assert "rules (a: b)" in first
    assert second == ["CNI-ISOLATION-STAGE-2", "-o", "vctui0", "-j", "DROP"]
    assert iptables.rules_about("eth0", LISTING) == []


@given(st.text("abcA -io'\"\\\n", max_size=60))
def test_any_listing_is_read(listing: str) -> None:
    iptables.rules_about("a", listing)


async def test_a_host_without_the_program_has_no_nat(monkeypatch) -> None:
    monkeypatch.setattr(iptables.probe, "find_program", lambda _name: None)
    assert not await iptables.has_nat("iptables")
    await iptables.forget_link("vctui0")
