"""Real machines on what shares a card of the host (macvlan, macvtap), and on a tap that whoever
filled the namespace made for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import lan as lans
from tests.drivers.endpoints.test_on_a_card import CARD
from tests.drivers.endpoints.wires import need_kind
from tests.e2e.conftest import Host
from tests.e2e.test_network import SERVE, cnm, fetch, sh
from vctui.linux import netns, taps
from vctui.linux.links import Links

pytestmark = [pytest.mark.vm, pytest.mark.root]


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[lans.Lan]:
    with lans.made(tmp_path) as made:
        yield made


@pytest.mark.parametrize(("kind", "model"), [("macvlan", "tc-filter"), ("macvtap", "enlightened")])
def test_a_machine_on_a_shared_card(host: Host, lan: lans.Lan, kind: str, model: str):
    card, pod = lan.namespace("card"), lan.namespace("pod")
    lan.plug(card, CARD, addresses=())
    need_kind(card, kind, CARD)
    lans.share(card, CARD, pod, kind, addresses=("10.77.0.2/24",), mtu=1400)
    before = lans.picture(pod), lans.picture(card)
    board = {"hypervisor_machine_type": "pc"}
    host.do("pod", "run", host.pod(kind, ("main", SERVE), hypervisor_config=board, **cnm(pod)))
    (one,) = host.status(kind)["network"]["endpoints"]
    assert (one["type"], one["model"]) == (kind, model)
    assert fetch(lan, "http://10.77.0.2:8080/") == f"page of {kind}\n"
    said = sh(host, kind, "ping -c 1 -s 1372 10.77.0.1; cat /sys/class/net/eth0/mtu")
    assert " 0% packet loss" in said
    assert said.endswith("1400\n")
    host.do("pod", "delete", kind)
    assert (lans.picture(pod), lans.picture(card)) == before


def test_a_machine_on_a_tap_that_was_made_for_it(host: Host, lan: lans.Lan):
    """Its maker leads its packets on; the pod takes only as many interfaces as it says."""
    pod = lan.namespace("pod")
    lan.plug(pod, "uplink", addresses=())
    for name, address in (("eth0", "10.77.0.2/24"), ("eth1", "10.77.1.2/24")):
        netns.inside(pod, taps.create, name, multi_queue=True)
        netns.inside(pod, lans._configure, name, (address,), (), 1400, "")

    def lead_on() -> None:
        with Links() as net:
            uplink, tap = net.get("uplink"), net.get("eth0")
            net.redirect(uplink, tap)
            net.redirect(tap, uplink)

    netns.inside(pod, lead_on)
    before = lans.picture(pod)
    config = {**cnm(pod, interworking_model="enlightened", num_interfaces=1)}
    config["vm_config"] = {"vcpus": 2}
    host.do("pod", "run", host.pod("tap", ("main", SERVE), **config))
    assert fetch(lan, "http://10.77.0.2:8080/") == "page of tap\n"
    assert sh(host, "tap", "ls /sys/class/net; ls /sys/class/net/eth0/queues") == (
        "eth0\nlo\nrx-0\nrx-1\ntx-0\ntx-1\n"
    )
    host.do("pod", "delete", "tap")
    assert lans.picture(pod) == before
