"""Debian's CNI plugins, on a host that is a network namespace of the test's own."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vctui.drivers.networks.cni import CniNetwork
from vctui.errors import NetworkError
from vctui.linux import netns, probe
from vctui.linux.links import Links
from vctui.model.network import Bandwidth, NetworkConfig, PortMapping
from vctui.settings import Network

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not probe.is_root(), reason="needs root"),
    pytest.mark.skipif(
        not Path("/usr/lib/cni/bridge").exists(),
        reason="needs containernetworking-plugins (apt-get install containernetworking-plugins)",
    ),
]


class World:
    """A host of its own, with a configuration folder, and namespaces for pods."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host = folder / "host"
        self.leases = folder / "leases"
        self.networks = folder / "net.d"
        self.networks.mkdir()
        (folder / "bin").mkdir()
        self.pods: list[Path] = []

    @property
    def driver(self) -> CniNetwork:
        folders = (str(self.folder / "bin"), "/usr/lib/cni")
        return CniNetwork(Network(config_dir=str(self.networks), plugin_dirs=folders))

    def pod(self, name: str) -> Path:
        path = self.folder / name
        netns.create(path)
        self.pods.append(path)
        return path

    def bridge(
        self, name: str, *more: dict[str, Any], version: str = "1.0.0", **keys: object
    ) -> None:
        first = {
            "type": "bridge",
            "bridge": f"br-{name}",
            "isGateway": True,
            "mtu": 1400,
            "ipam": {
                "type": "host-local",
                "dataDir": str(self.leases),
                "ranges": [[{"subnet": "10.77.0.0/24"}], [{"subnet": "fd77::/64"}]],
                "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
            },
            **keys,
        }
        document = {"cniVersion": version, "name": name, "plugins": [first, *more]}
        (self.networks / f"{name}.conflist").write_text(json.dumps(document))

    def script(self, name: str, text: str) -> None:
        program = self.folder / "bin" / name
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)

    def on_host(self, work: Callable[[], Awaitable[None]]) -> None:
        netns.inside(self.host, lambda: asyncio.run(work()))

    async def state(self) -> dict[str, Any]:
        """Everything of the host that plugins may leave something in. On the host only."""
        return await asyncio.to_thread(self._state)

    def _state(self) -> dict[str, Any]:
        with Links() as net:
            links = sorted(link.name for link in net.all())
            routes = sorted(str(route) for route in net.routes())
        rules = [
            subprocess.run([program], capture_output=True, text=True, check=True).stdout
            for program in ("iptables-save", "ip6tables-save")
        ]
        return {
            "links": links,
            "routes": routes,
            "leases": sorted(
                path.name
                for path in self.leases.rglob("*")
                if path.is_file() and path.name != "lock" and "last_reserved" not in path.name
            ),
            "rules": [line for text in rules for line in text.splitlines() if line[:1] == "-"],
        }


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    netns.create(made.host)
    try:
        yield made
    finally:
        for path in (*made.pods, made.host):
            netns.remove(path)


@pytest.mark.parametrize("version", ["0.3.1", "0.4.0", "1.0.0"])
def test_a_pod_joins_and_leaves_a_bridge(world: World, version: str) -> None:
    masquerading = {"type": "firewall", "backend": "iptables"}
    world.bridge("pods", *([masquerading] if version != "0.3.1" else []), version=version)
    pod = world.pod("web")

    def inside() -> None:
        with Links() as net:
            link = net.get("eth0")
            assert link.mtu == 1400
            assert set(link.addresses) == {"10.77.0.2/24", "fd77::2/64"}
            assert {route.gateway for route in net.routes()} == {"10.77.0.1", "fd77::1"}

    async def life() -> None:
        driver = world.driver
        planned = driver.plan(NetworkConfig())
        joined = await driver.prepare("web", pod, planned)
        netns.inside(pod, inside)
        await driver.check("web", pod, joined, ())
        assert len((await world.state())["leases"]) == 2
        if version != "0.3.1":
            netns.inside(pod, delete_link, "eth0")
            with pytest.raises(NetworkError, match=r"\(CHECK\) of network 'pods' failed"):
                await driver.check("web", pod, joined, ())
        for _ in range(2):
            await driver.remove("web", pod, joined)
        left = await world.state()
        assert left["links"] == ["br-pods", "lo"]
        assert left["leases"] == []
        assert "10.77.0.2" not in str(left["rules"])

    world.on_host(life)


def test_a_pod_has_the_addresses_ports_and_limits_that_it_asks_for(world: World) -> None:
    world.bridge(
        "pods",
        {"type": "portmap", "capabilities": {"portMappings": True}},
        {"type": "bandwidth", "capabilities": {"bandwidth": True}},
        {"type": "tuning", "capabilities": {"mac": True}},
        capabilities={"ips": True},
    )
    pods = [world.pod(f"pod{number}") for number in range(2)]
    config = NetworkConfig(
        port_mappings=(PortMapping(host_port=8080, container_port=80),),
        ips=("10.77.0.77", "fd77::77"),
        mac="02:00:00:00:77:77",
        bandwidth=Bandwidth(ingress_rate=8_000_000, egress_rate=9_000_000),
    )

    def inside() -> tuple[str, set[str]]:
        with Links() as net:
            link = net.get("eth0")
            return link.mac, set(link.addresses)

    async def lives() -> None:
        driver = world.driver
        for pod in pods:  # what the first one leaves is what plugins leave for all
            before = await world.state()
            planned = driver.plan(config)
            joined = await driver.prepare(pod.name, pod, planned)
            found = netns.inside(pod, inside)
            assert found == ("02:00:00:00:77:77", {"10.77.0.77/24", "fd77::77/64"})
            during = await world.state()
            assert "to-destination 10.77.0.77:80" in str(during["rules"])
            assert len(during["links"]) == 4  # lo, the bridge, the pod's port, and ifb of bandwidth
            await driver.remove(pod.name, pod, joined)
        assert await world.state() == before

    world.on_host(lives)


def test_twenty_pods_leave_the_host_as_it_was(world: World) -> None:
    world.bridge("pods")
    pods = [world.pod(f"pod{number}") for number in range(21)]

    async def lives() -> None:
        driver = world.driver
        planned = driver.plan(NetworkConfig())

        async def life(pod: Path) -> str:
            joined = await driver.prepare(pod.name, pod, planned)
            await driver.check(pod.name, pod, joined, ())
            await driver.remove(pod.name, pod, joined)
            return joined[0].result

        await life(pods[0])  # makes the bridge, which stays
        before = await world.state()
        for at in range(1, 21, 4):
            results = await asyncio.gather(*(life(pod) for pod in pods[at : at + 4]))
            assert len(set(results)) == 4
        assert await world.state() == before

    world.on_host(lives)


@pytest.mark.parametrize(
    "script",
    [
        """[ $CNI_COMMAND = ADD ] || exit 0; echo '{"code": 100, "msg": "no"}'; exit 1""",
        "[ $CNI_COMMAND = ADD ] || exit 0; echo rubbish",
        "exit 1",
    ],
    ids=["fails", "prints rubbish", "fails even at DEL"],
)
def test_a_bad_plugin_after_the_bridge_leaves_nothing_of_the_pod(world: World, script: str) -> None:
    world.bridge("pods", {"type": "bad"})
    world.script("bad", script)
    pod = world.pod("web")

    async def life() -> None:
        driver = world.driver
        planned = driver.plan(NetworkConfig())
        with pytest.raises(NetworkError, match="the CNI plugin bad"):
            await driver.prepare("web", pod, planned)
        assert (await world.state())["leases"] != []
        try:
            await driver.remove("web", pod, planned)
        except NetworkError as error:
            assert "bad (DEL)" in str(error)  # noqa: PT017 - only one of the scripts fails here
        left = await world.state()
        assert (left["links"], left["leases"]) == (["br-pods", "lo"], [])
        assert "10.77.0.2" not in str(left["rules"])

    world.on_host(life)


def test_addresses_are_given_back_though_the_namespace_is_gone(world: World) -> None:
    world.bridge("pods")
    pod = world.pod("web")

    async def life() -> None:
        driver = world.driver
        joined = await driver.prepare("web", pod, driver.plan(NetworkConfig()))
        netns.remove(pod)
        await driver.remove("web", None, joined)
        assert (await world.state())["leases"] == []

    world.on_host(life)


def delete_link(name: str) -> None:
    with Links() as net:
        net.delete(name)
