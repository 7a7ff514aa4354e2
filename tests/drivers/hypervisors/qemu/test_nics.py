"""Network cards: what QEMU is told of them, and that nothing is left where it refuses."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.drivers.hypervisors.qemu.test_cmdline import build, plan
from tests.drivers.hypervisors.qemu.test_hotplug import tree
from vctui.drivers.hypervisors.base import Place
from vctui.drivers.hypervisors.qemu import netplug, nics
from vctui.errors import HypervisorError
from vctui.model.kinds import EndpointType, NetInterworkingModel
from vctui.model.network import Endpoint, Interface, PhysicalDevice

MAC = "02:00:00:00:00:02"
ONE, TWO = nics.Queues((7,)), nics.Queues((7, 8), (9, 10))


def endpoint(queues: int = 1) -> Endpoint:
    return Endpoint(
        type=EndpointType.VETH,
        index=3,
        interface=Interface(name="eth0", mac=MAC, mtu=1500),
        model=NetInterworkingModel.TC_FILTER,
        tap="tap3",
        queues=queues,
    )


def test_a_backend_has_the_descriptors_of_its_tap():
    assert nics.backend(endpoint(), ONE) == "tap,id=net3,fd=7"
    assert nics.backend(endpoint(2), TWO) == "tap,id=net3,fds=7:8,vhost=on,vhostfds=9:10"


def test_a_card_has_the_interfaces_mac_and_boots_from_no_network():
    assert nics.card(endpoint(), 1, pci=True, emulated=True) == {
        "id": "virtio-net3",
        "netdev": "net3",
        "mac": MAC,
        "romfile": "",
    }


def test_several_queues_have_their_interrupts_where_there_is_pci():
    assert nics.card(endpoint(2), 2, pci=True, emulated=True)["vectors"] == "6"
    assert "vectors" not in nics.card(endpoint(2), 2, pci=False, emulated=True)
    assert nics.card(endpoint(2), 2, pci=False, emulated=True)["mq"] == "on"


class FakeSession:
    """Answers by a table and remembers what it was asked."""

    def __init__(
        self,
        *refused: str,
        refusal: str = "no",
        peripherals: tuple[str, ...] = (),
        shared: bool = True,
    ) -> None:
        self._shared = shared
        self.asked: list[tuple[str, Any]] = []
        self.given: dict[str, int] = {}
        self._refused = refused
        self._refusal = refusal
        self._peripherals = list(peripherals)

    async def execute(self, command: str, arguments: Any = None) -> Any:
        self.asked.append((command, arguments))
        if command in self._refused:
            raise HypervisorError(self._refusal)
        if command == "device_del":
            self._peripherals.remove(arguments["id"])
        if command == "qom-list":
            return [{"name": name, "type": "child<virtio-net-pci>"} for name in self._peripherals]
        if command == "query-memdev":
            return [{"id": "ram", "share": self._shared}]
        return tree() if command == "query-pci" else {}

    async def give_file(self, name: str, descriptor: int) -> None:
        self.given[name] = descriptor

    async def events(self) -> Any:
        yield {"event": "DEVICE_DELETED", "data": {"device": "virtio-net3"}}


async def test_a_card_is_plugged_in_with_descriptors_handed_over():
    session = FakeSession()
    place = await netplug.plug(session, endpoint(2), TWO, emulated=True)  # type: ignore[arg-type]
    assert place == Place(pci_path="01/00/01")
    assert session.given == {"net3-0": 7, "net3-1": 8, "net3-2": 9, "net3-3": 10}
    assert session.asked[1:] == [
        (
            "netdev_add",
            {
                "type": "tap",
                "id": "net3",
                "fds": "net3-0:net3-1",
                "vhost": True,
                "vhostfds": "net3-2:net3-3",
            },
        ),
        (
            "device_add",
            {
                "driver": "virtio-net-pci",
                "id": "virtio-net3",
                "netdev": "net3",
                "mac": MAC,
                "mq": True,
                "vectors": 6,
                "romfile": "",
                "bus": "pci-bridge-0",
                "addr": "0x1",
            },
        ),
    ]


async def test_descriptors_that_no_backend_takes_are_closed_again():
    session = FakeSession("netdev_add")
    with pytest.raises(HypervisorError):
        await netplug.plug(session, endpoint(), ONE, emulated=True)  # type: ignore[arg-type]
    assert session.asked[-1] == ("closefd", {"fdname": "net3-0"})


async def test_a_card_that_is_refused_leaves_no_backend():
    session = FakeSession("device_add")
    with pytest.raises(HypervisorError):
        await netplug.plug(session, endpoint(), ONE, emulated=True)  # type: ignore[arg-type]
    assert session.asked[-1] == ("netdev_del", {"id": "net3"})


async def test_a_card_is_taken_out_before_its_backend():
    session = FakeSession(peripherals=("virtio-net3",))
    await netplug.unplug(session, endpoint())  # type: ignore[arg-type]
    names = [name for name, _ in session.asked]
    assert names[-2:] == ["device_del", "netdev_del"]


async def test_what_is_out_already_is_no_error():
    session = FakeSession("netdev_del", refusal="Device 'net3' not found")
    await netplug.unplug(session, endpoint())  # type: ignore[arg-type]
    assert "device_del" not in [name for name, _ in session.asked]


def special(**values: object) -> Endpoint:
    return msgspec.structs.replace(endpoint(), tap="", **values)


CARD = PhysicalDevice(bdf="0000:03:00.0", driver="ixgbe", vendor_device="8086 10fb")
SOCKET = "/tmp/vhostuser_10.0.0.2/vhu.sock"


def test_a_network_card_of_the_host_is_passed_through():
    arguments = build(plan(endpoints=(special(physical=CARD),)))
    assert "vfio-pci,id=virtio-net3,host=0000:03:00.0" in arguments


def test_who_serves_vhost_user_shares_the_machines_memory():
    arguments = build(plan(endpoints=(special(socket="/tmp/a,b/vhu.sock"),)))
    assert "socket,id=vhost-net3,path=/tmp/a,,b/vhu.sock,reconnect=1" in arguments
    assert "vhost-user,id=net3,chardev=vhost-net3" in arguments
    assert f"virtio-net-pci,id=virtio-net3,netdev=net3,mac={MAC},vectors=0,romfile=" in arguments
    assert any(each.startswith("memory-backend-memfd,id=ram,") for each in arguments)
    assert any("share=on" in each for each in arguments)


def test_a_served_card_has_its_interrupts_where_the_host_delivers_them():
    """With vectors QEMU's emulator ends with a segmentation fault (nics.card)."""
    one = special(socket=SOCKET)
    assert nics.card(one, 1, pci=True, emulated=True)["vectors"] == "0"
    assert "vectors" not in nics.card(one, 1, pci=True, emulated=False)
    assert "vectors" not in nics.card(one, 1, pci=False, emulated=True)


async def test_a_network_card_of_the_host_is_plugged_in_and_out():
    session = FakeSession(peripherals=("virtio-net3",))
    one = special(physical=CARD)
    place = await netplug.plug(session, one, None, emulated=True)  # type: ignore[arg-type]
    assert place == Place(pci_path="01/00/01")
    where = {"bus": "pci-bridge-0", "addr": "0x1"}
    card = {"driver": "vfio-pci", "id": "virtio-net3", "host": CARD.bdf, **where}
    assert session.asked[1:] == [("device_add", card)]
    await netplug.unplug(session, one)  # type: ignore[arg-type]
    assert [name for name, _ in session.asked][-1] == "device_del"


async def test_a_served_card_is_plugged_in_and_out():
    session = FakeSession(peripherals=("virtio-net3",))
    one = special(socket=SOCKET)
    await netplug.plug(session, one, None, emulated=True)  # type: ignore[arg-type]
    names = [name for name, _ in session.asked]
    assert names == ["query-pci", "query-memdev", "chardev-add", "netdev_add", "device_add"]
    place = {"type": "unix", "data": {"path": SOCKET}}
    how = {"addr": place, "server": False, "reconnect": 1}
    assert session.asked[2][1] == {
        "id": "vhost-net3",
        "backend": {"type": "socket", "data": how},
    }
    await netplug.unplug(session, one)  # type: ignore[arg-type]
    assert [name for name, _ in session.asked][-3:] == [
        "device_del",
        "netdev_del",
        "chardev-remove",
    ]


@pytest.mark.parametrize("refused", ["netdev_add", "device_add"])
async def test_a_served_card_that_is_refused_leaves_nothing(refused: str):
    session = FakeSession(refused)
    with pytest.raises(HypervisorError):
        await netplug.plug(
            session,  # type: ignore[arg-type]
            special(socket=SOCKET),
            None,
            emulated=True,
        )
    assert session.asked[-2:] == [
        ("netdev_del", {"id": "net3"}),
        ("chardev-remove", {"id": "vhost-net3"}),
    ]


async def test_a_machine_whose_memory_is_its_own_takes_no_served_card():
    session = FakeSession(shared=False)
    with pytest.raises(HypervisorError, match="memory that no other program can map; stop the pod"):
        await netplug.plug(
            session,  # type: ignore[arg-type]
            special(socket=SOCKET),
            None,
            emulated=True,
        )
    assert "chardev-add" not in [name for name, _ in session.asked]
