"""physical: a network card of the host that is handed to the machine as it is (VFIO).

The host's driver lets go of it while the pod runs, so the interface leaves the namespace. It comes
back with that driver, without its addresses, and in the host's namespace: cards are reborn there.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

from vctui.drivers.endpoints.base import Wiring
from vctui.errors import HostProblem
from vctui.linux import ethtool, pci
from vctui.model.network import Endpoint, PhysicalDevice

_DEVICES: Final = "bus/pci/devices"


def find(name: str, *, sys: Path = Path("/sys")) -> PhysicalDevice | None:
    """The card behind a link of the current namespace; None where there is none."""
    info = ethtool.driver_info(name)
    if info is None or not pci.is_address(info.bus):
        return None
    folder = sys / _DEVICES / info.bus
    try:
        words = [(folder / key).read_text(encoding="ascii").strip() for key in ("vendor", "device")]
    except OSError:
        return None
    return PhysicalDevice(bdf=info.bus, driver=info.driver, vendor_device=" ".join(words))


class Physical(Wiring):
    """`sys` is where sysfs is."""

    def __init__(self, sys: Path = Path("/sys")) -> None:
        self._sys = sys

    def plan(self, endpoint: Endpoint, taken: Collection[str]) -> Endpoint:
        return endpoint

    def connect(self, endpoint: Endpoint) -> None:
        """Raises HostProblem where the host cannot pass devices through."""
        card = _card(endpoint)
        if not (self._sys / "bus/pci/drivers" / pci.PASSING).is_dir():
            raise HostProblem(
                f"interface {endpoint.interface.name!r} is the network card {card.bdf}, which a "
                f"machine can have only through {pci.PASSING}; run `modprobe {pci.PASSING}` on a "
                "host with an IOMMU, or take the card out of the namespace"
            )
        if not (self._sys / _DEVICES / card.bdf / "iommu_group").exists():
            raise HostProblem(
                f"the network card {card.bdf} (interface {endpoint.interface.name!r}) is in no "
                "IOMMU group; switch the IOMMU on (intel_iommu=on or amd_iommu=on)"
            )
        self._check_alone(endpoint, card)
        self._bind(card.bdf, pci.PASSING)

    def disconnect(self, endpoint: Endpoint) -> None:
        bdf = _card(endpoint).bdf
        device = self._sys / _DEVICES / bdf
        if not device.is_dir():
            return
        wanted = (device / "driver_override").read_text(encoding="ascii").strip()
        if pci.PASSING in {wanted, pci.driver(device)}:
            self._bind(bdf, "")

    def _bind(self, bdf: str, driver: str) -> None:
        """To `driver` alone; "" lets the kernel choose, as it does after a boot, and a driver stay
        that was never unbound."""
        device = self._sys / _DEVICES / bdf
        (device / "driver_override").write_text(f"{driver}\n", encoding="ascii")
        current = pci.driver(device)
        if current and (driver or current == pci.PASSING):
            (device / "driver/unbind").write_text(bdf, encoding="ascii")
        (self._sys / "bus/pci/drivers_probe").write_text(bdf, encoding="ascii")

    def _check_alone(self, endpoint: Endpoint, card: PhysicalDevice) -> None:
        """The kernel gives a machine no device of a group that the host has devices of."""
        for one in pci.functions(self._sys / _DEVICES / card.bdf / "iommu_group"):
            if one.name != card.bdf and (driver := pci.driver(one)) not in {"", pci.PASSING}:
                raise HostProblem(
                    f"the network card {card.bdf} (interface {endpoint.interface.name!r}) shares "
                    f"its IOMMU group with {one.name}, which is bound to {driver}; bind that to "
                    f"{pci.PASSING}, or take the card out of the namespace"
                )


def _card(endpoint: Endpoint) -> PhysicalDevice:
    if endpoint.physical is None:
        raise ValueError(f"endpoint {endpoint.id} is no network card")
    return endpoint.physical
