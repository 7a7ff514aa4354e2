"""What this machine's kernel may lack, on the kernel of a guest, which has it: the tests that are
skipped here run there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.guest import hosting

MODULES = (
    *("bridge", "veth", "macvlan", "macvtap", "ipvlan"),
    *("sch_ingress", "cls_u32", "act_mirred"),
)
TESTS = (
    "test_on_a_card.py::test_packets_pass_a_shared_device[macvlan]",
    "test_on_a_card.py::test_packets_pass_a_shared_device[ipvlan]",
    "test_on_a_card.py::test_packets_pass_a_shared_device[macvtap]",
    "test_wiring.py::test_packets_pass_and_then_everything_is_as_it_was[macvtap-1]",
    "test_wiring.py::test_a_macvtap_without_a_device_node_is_refused",
)


@pytest.mark.vm
@pytest.mark.timeout(180)
def test_macvtap_macvlan_and_ipvlan_work_on_a_kernel_that_has_them(guest_cache: Path):
    tests = [str(Path(__file__).with_name(test)) for test in TESTS]
    results = hosting.run_tests(guest_cache, MODULES, *tests, timeout=120)
    assert [Path(test).name for test in results] == list(TESTS)
    assert set(results.values()) == {"PASSED"}
