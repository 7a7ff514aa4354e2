"""A real card behind a real IOMMU: to vfio-pci, into a machine, and back to the host.

Only a card with this MAC is touched; test_on_another_kernel makes a host that has one.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import lan as lans
from vctui.drivers.devices import vfio
from vctui.drivers.endpoints import physical, scan
from vctui.drivers.endpoints.physical import Physical
from vctui.drivers.hypervisors.base import PassedDevice, Place
from vctui.drivers.hypervisors.qemu import hotplug, netplug, nics, qmp, slots
from vctui.errors import HostProblem, HypervisorError
from vctui.linux import netns, sockets
from vctui.linux.links import Links
from vctui.model.device import DeviceInfo
from vctui.model.kinds import EndpointType
from vctui.model.network import Endpoint, NetworkConfig, PhysicalDevice

MAC = "02:00:00:00:56:01"
PATIENCE = 120.0
DEVICES = Path("/sys/bus/pci/devices")

pytestmark = pytest.mark.root


def find() -> str:
    """The link of the spare card; "" where there is none."""
    with Links() as net:
        return next((link.name for link in net.all() if link.mac == MAC), "")


@pytest.fixture
def name() -> str:
    found = find()
    if not found or physical.find(found) is None:
        pytest.skip(f"needs a network card with the hardware address {MAC}; a guest of ours has it")
    return found


@pytest.fixture
def pod(name: str, tmp_path: Path) -> Iterator[Path]:
    """A namespace that the card is in, with an address."""
    path = tmp_path / "pod"
    netns.create(path)

    def give() -> None:
        with Links() as net, path.open("rb") as target:
            net.set(net.get(name), net_ns_fd=target.fileno())

    give()
    netns.inside(path, lans._configure, name, ("10.77.0.2/24",), (), 1500, "")
    yield path
    netns.remove(path)


def driver(card: PhysicalDevice) -> str:
    return (DEVICES / card.bdf / "driver").resolve().name


def group(card: PhysicalDevice) -> str:
    return (DEVICES / card.bdf / "iommu_group").resolve().name


@contextmanager
def machine(folder: Path, *arguments: str) -> Iterator[Path]:
    """A QEMU with a bridge as ours have it, and nothing to boot from; its control socket."""
    control = folder / "qmp"
    port = "pcie-root-port,id=bridge-port-0,bus=pcie.0,chassis=1"
    bridge = ("-device", port, "-device", "pcie-pci-bridge,id=pci-bridge-0,bus=bridge-port-0")
    command = [
        *("qemu-system-x86_64", "-M", "q35,accel=tcg", "-m", "32", "-nodefaults"),
        *("-no-user-config", "-display", "none", *bridge, *arguments),
        *("-qmp", f"unix:{control},server=on,wait=off"),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        try:
            yield control
        finally:
            running.kill()
            if running.stderr is not None:
                said = running.stderr.read()
    assert "vfio" not in said, said


async def plug(session: qmp.Session, work: Callable[[], Awaitable[Place]]) -> Place:
    """As soon as the firmware has found the bridge."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                slots.free_slot(await session.execute("query-pci"))
            except HypervisorError:
                await asyncio.sleep(0.1)
            else:
                return await work()


async def ids(session: qmp.Session) -> list[str]:
    return [one["name"] for one in await session.execute("qom-list", {"path": hotplug.PERIPHERAL})]


async def connected(control: Path) -> None:
    """A moment after its start, QEMU listens."""
    async with asyncio.timeout(PATIENCE):
        while not sockets.is_served(control):  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.05)


def endpoint(pod: Path) -> Endpoint:
    view = netns.inside(pod, scan.look)
    (one,) = scan.endpoints(view, NetworkConfig(), processors=1, wire=Physical().plan)
    return one


def test_a_card_goes_into_a_machine_and_comes_back(name: str, pod: Path, tmp_path: Path):
    one = endpoint(pod)
    card = one.physical
    assert card is not None
    assert (one.type, one.interface.mac, card.driver) == (EndpointType.PHYSICAL, MAC, "e1000e")
    assert card.vendor_device == "0x8086 0x10d3"
    netns.inside(pod, Physical().connect, one)
    assert driver(card) == "vfio-pci"
    assert netns.inside(pod, lans.link_names) == ["lo"]

    async def plug_in(control: Path) -> None:
        await connected(control)
        async with qmp.connect(control, timeout=PATIENCE) as session:
            place = await plug(session, lambda: netplug.plug(session, one, None, emulated=True))
            assert place.pci_path == "01/00/01"
            assert f"virtio-{one.id}" in await ids(session)

    with machine(tmp_path) as control:
        asyncio.run(plug_in(control))

    async def look(control: Path) -> None:
        await connected(control)
        async with qmp.connect(control, timeout=PATIENCE) as session:
            assert f"virtio-{one.id}" in await ids(session)

    with machine(tmp_path, "-device", nics.passed(one, card)) as control:
        asyncio.run(look(control))

    netns.inside(pod, Physical().disconnect, one)
    assert driver(card) == "e1000e"
    assert find() == name
    netns.inside(pod, Physical().disconnect, one)
    assert driver(card) == "e1000e"


def test_a_group_is_a_container_s_device_once_it_is_bound(name: str, pod: Path, tmp_path: Path):
    one = endpoint(pod)
    card = one.physical
    assert card is not None
    info = DeviceInfo(container_path="/dev/card", host_path=f"/dev/vfio/{group(card)}")
    assert vfio.is_group(info)
    with pytest.raises(HostProblem, match=f"{card.bdf} .* is bound to e1000e; run `driverctl"):
        vfio.functions(info)
    netns.inside(pod, Physical().connect, one)
    assert vfio.functions(info) == (card.bdf,)
    device = PassedDevice(name="vfio-0123", address=card.bdf)

    async def plug_in(control: Path) -> None:
        await connected(control)
        async with qmp.connect(control, timeout=PATIENCE) as session:
            place = await plug(session, lambda: hotplug.plug(session, device))
            assert place.pci_path == "01/00/01"
            assert device.name in await ids(session)

    with machine(tmp_path) as control:
        asyncio.run(plug_in(control))
    netns.inside(pod, Physical().disconnect, one)
    assert find() == name
