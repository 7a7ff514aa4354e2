"""What this machine's kernel may lack, on the kernel of a guest, which has it: the tests that are
skipped here run there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.drivers.endpoints.test_on_vfio import MAC
from tests.guest import hosting

MODULES = (
    *("bridge", "veth", "macvlan", "macvtap", "ipvlan"),
    *("sch_ingress", "cls_u32", "act_mirred"),
    *("e1000e", "vfio_iommu_type1", "vfio_pci"),
)
HARDWARE = (
    *("-device", "intel-iommu,intremap=on"),
    *("-device", f"e1000e,mac={MAC}"),
)
TESTS = (
    "test_on_a_card.py::test_packets_pass_a_shared_device[macvlan]",
    "test_on_a_card.py::test_packets_pass_a_shared_device[ipvlan]",
    "test_on_a_card.py::test_packets_pass_a_shared_device[macvtap]",
    "test_on_a_card.py::test_an_ipvlan_that_routes_passes_packets_and_no_arp",
    "test_on_a_card.py::test_an_ipvlan_that_hands_packets_to_nobody_is_refused",
    "test_wiring.py::test_packets_pass_and_then_everything_is_as_it_was[macvtap-1]",
    "test_wiring.py::test_a_macvtap_without_a_device_node_is_refused",
    "test_on_vfio.py::test_a_card_goes_into_a_machine_and_comes_back",
    "test_on_vfio.py::test_a_group_is_a_container_s_device_once_it_is_bound",
)


@pytest.mark.vm
@pytest.mark.timeout(180)
def test_what_this_machine_lacks_works_on_one_that_has_it(guest_cache: Path):
    tests = [str(Path(__file__).with_name(test)) for test in TESTS]
    results = hosting.run_tests(
        guest_cache,
        MODULES,
        *tests,
        timeout=120,
        hardware=HARDWARE,
        parameters=("intel_iommu=on",),
    )
    assert [Path(test).name for test in results] == list(TESTS)
    assert set(results.values()) == {"PASSED"}
