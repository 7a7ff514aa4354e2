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
    *("vhost_vsock", "vsock_loopback"),
)
HARDWARE = (
    *("-device", "intel-iommu,intremap=on"),
    *("-device", f"e1000e,mac={MAC}"),
)
TESTS = (
    "drivers/endpoints/test_on_a_card.py::test_packets_pass_a_shared_device[macvlan]",
    "drivers/endpoints/test_on_a_card.py::test_packets_pass_a_shared_device[ipvlan]",
    "drivers/endpoints/test_on_a_card.py::test_packets_pass_a_shared_device[macvtap]",
    "drivers/endpoints/test_on_a_card.py::test_connections_pass_an_ipvlan_both_ways[l2]",
    "drivers/endpoints/test_on_a_card.py::test_connections_pass_an_ipvlan_both_ways[l3]",
    "drivers/endpoints/test_on_a_card.py::test_an_ipvlan_that_hands_packets_to_nobody_is_refused",
    "drivers/endpoints/test_wiring.py::test_packets_pass_and_then_everything_is_as_it_was[macvtap-1]",
    "drivers/endpoints/test_wiring.py::test_a_macvtap_without_a_device_node_is_refused",
    "drivers/endpoints/test_on_vfio.py::test_a_card_goes_into_a_machine_and_comes_back",
    "drivers/endpoints/test_on_vfio.py::test_a_group_is_a_container_s_device_once_it_is_bound",
    "companions/test_kernel_vsock.py::test_each_guest_has_a_context_id_of_its_own_until_it_ends",
    "companions/test_kernel_vsock.py::test_qemu_takes_the_context_id_that_was_kept_for_it",
    "companions/test_kernel_vsock.py::test_an_agent_at_a_port_of_the_kernels_is_talked_to[ttrpc]",
    "companions/test_kernel_vsock.py::test_an_agent_at_a_port_of_the_kernels_is_talked_to[grpc]",
    "companions/test_kernel_vsock.py::test_a_port_that_nobody_listens_at_is_an_error",
)


@pytest.mark.vm
@pytest.mark.timeout(180)
def test_what_this_machine_lacks_works_on_one_that_has_it(guest_cache: Path):
    tests = [str(Path(__file__).parents[1] / test) for test in TESTS]
    results = hosting.run_tests(
        guest_cache,
        MODULES,
        *tests,
        timeout=120,
        hardware=HARDWARE,
        parameters=("intel_iommu=on",),
    )
    assert list(results) == [f"tests/{test}" for test in TESTS]
    assert set(results.values()) == {"PASSED"}
