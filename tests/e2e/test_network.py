"""Networks of real machines, all inside namespaces that the tests made."""

from __future__ import annotations

import http.server
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import lan as lans
from tests.e2e.conftest import Host, wait_until
from vctui.linux import netns
from vctui.wire import resolver

pytestmark = [pytest.mark.vm, pytest.mark.root]

SERVE = (
    "mkdir -p /www; echo page of $(hostname) > /www/index.html;exec /bin/httpd -f -p 8080 -h /www"
)


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lans.Lan]:
    with lans.made(tmp_path_factory.mktemp("lan")) as made:
        yield made


def cnm(namespace: Path, **config: object) -> dict[str, object]:
    return {
        "network_model": "CNM",
        "network_config": {"net_ns_path": str(namespace), **config},
    }


def sh(host: Host, pod: str, script: str) -> str:
    return host.do("container", "exec", pod, "main", "--", "sh", "-c", script)


def fetch(lan: lans.Lan, url: str) -> str:
    """The page; a server that has not begun to listen is waited for."""

    def get() -> str:
        try:
            with urllib.request.urlopen(url, timeout=20) as page:
                return page.read().decode()
        except urllib.error.URLError as error:
            if isinstance(error.reason, ConnectionRefusedError):
                return ""
            raise

    pages: list[str] = []

    def got() -> str:
        pages.append(lan.inside(get))
        return pages[-1]

    wait_until(got, url)
    return pages[-1]


@pytest.fixture(scope="module")
def two(host: Host, lan: lans.Lan) -> tuple[dict[str, object], dict[str, object]]:
    """Pods `one` (tc-filter, on q35) and `two` (bridged, on pc), each in a namespace that it was
    given; and pictures of these before."""
    pictures = []
    for number, name, model, board in ((2, "one", "default", "q35"), (3, "two", "bridged", "pc")):
        namespace = lan.namespace(name)
        lan.plug(
            namespace,
            addresses=(f"10.77.0.{number}/24", f"fd77::{number}/64"),
            gateways=("10.77.0.1", "fd77::1"),
            mtu=1400,
            mac=f"02:00:00:00:77:{number:02x}",
        )
        netns.inside(namespace, lans.add_neighbor, "eth0", "10.77.0.99", "02:00:00:00:77:99")
        pictures.append(lans.picture(namespace))
        config = cnm(namespace, interworking_model=model)
        config["hypervisor_config"] = {"hypervisor_machine_type": board}
        host.do("pod", "run", host.pod(name, ("main", SERVE), **config))
        assert fetch(lan, f"http://10.77.0.{number}:8080/") == f"page of {name}\n"
    return pictures[0], pictures[1]


def test_a_guest_has_what_the_namespace_had(host: Host, two: object):
    link = sh(host, "one", "ip addr show eth0")
    assert "mtu 1400" in link
    assert "02:00:00:00:77:02" in link
    assert "inet 10.77.0.2/24" in link
    assert "inet6 fd77::2/64" in link
    assert "default via 10.77.0.1 dev eth0" in sh(host, "one", "ip route")
    assert "default via fd77::1 dev eth0" in sh(host, "one", "ip -6 route")
    neighbors = sh(host, "one", "ip neigh").splitlines()
    (fixed,) = (line for line in neighbors if "PERMANENT" in line)
    assert fixed.startswith("10.77.0.99 dev eth0 lladdr 02:00:00:00:77:99 ")


def test_pods_fetch_pages_from_each_other(host: Host, two: object):
    assert sh(host, "one", "wget -qO- http://10.77.0.3:8080/") == "page of two\n"
    assert sh(host, "two", "wget -qO- http://[fd77::2]:8080/") == "page of one\n"


def test_the_host_and_pods_fetch_pages_from_each_other(host: Host, lan: lans.Lan, two: object):
    assert fetch(lan, "http://10.77.0.2:8080/") == "page of one\n"
    assert fetch(lan, "http://[fd77::3]:8080/") == "page of two\n"

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"x" * 300_000)

        def log_message(self, *_: object) -> None:
            pass

    server = lan.inside(http.server.HTTPServer, ("10.77.0.1", 8081), Page)
    with server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            got = sh(host, "two", "wget -qO- http://10.77.0.1:8081/ | wc -c")
        finally:
            server.shutdown()
            serving.join()
    assert int(got) == 300_000


def test_packets_of_the_whole_mtu_arrive_and_larger_ones_do_not(host: Host, two: object):
    assert " 0% packet loss" in sh(host, "one", "ping -c 1 -s 1372 10.77.0.3")
    assert "1400" in sh(host, "two", "cat /sys/class/net/eth0/mtu")


def test_containers_find_the_hosts_name_servers(host: Host, two: object):
    dns = resolver.parse(Path("/etc/resolv.conf").read_text())
    expected = "".join(f"{line}\n" for line in resolver.lines(dns)) if dns.nameservers else ""
    assert sh(host, "one", "cat /etc/resolv.conf 2>/dev/null || true") == expected


def test_a_microvm_with_several_queues_is_connected_too(host: Host, lan: lans.Lan):
    namespace = lan.namespace("micro")
    lan.plug(namespace, addresses=("10.77.0.9/24",), gateways=("10.77.0.1",))
    config = {
        **cnm(namespace),
        "vm_config": {"vcpus": 2},
        "hypervisor_config": {"hypervisor_machine_type": "microvm"},
    }
    host.do("pod", "run", host.pod("micro", ("main", SERVE), **config))
    assert fetch(lan, "http://10.77.0.9:8080/") == "page of micro\n"
    assert sh(host, "micro", "ls /sys/class/net/eth0/queues | grep -c rx").strip() == "2"
    before = host.status("micro")["network"]
    lan.plug(namespace, "eth1", addresses=("10.77.1.9/24",))
    assert "choose the machine type q35 or pc" in host.refuse("pod", "connect", "micro")["message"]
    assert host.status("micro")["network"] == before
    host.do("pod", "delete", "micro")


def test_a_pod_on_another_network_reaches_neither(
    host: Host, two: object, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
):
    with lans.made(tmp_path, "other", "10.88.0.1/24") as other:
        namespace = other.namespace("three")
        other.plug(namespace, addresses=("10.88.0.2/24",), gateways=("10.88.0.1",))
        host.do("pod", "run", host.pod("three", ("main", SERVE), **cnm(namespace)))
        assert fetch(other, "http://10.88.0.2:8080/") == "page of three\n"
        refused = sh(host, "three", "timeout 3 wget -qO- http://10.77.0.2:8080/ 2>&1 || echo no")
        assert refused == "Terminated\nno\n"
        host.do("pod", "delete", "three")


@pytest.mark.parametrize(("pod", "other"), [("one", "10.77.0.3"), ("two", "10.77.0.2")])
def test_a_running_pod_gets_another_interface_and_loses_it(
    host: Host, lan: lans.Lan, two: object, pod: str, other: str
):
    namespace = lan.root / pod
    before = lans.picture(namespace)
    assert "put one with an address into it" in host.refuse("pod", "connect", pod)["message"]
    lan.plug(
        namespace,
        "net7",
        addresses=("10.77.1.2/24",),
        routes=("10.99.0.0/16 10.77.1.1",),
        mac="02:00:00:00:77:77",
    )
    status = host.ask("pod", "connect", pod)
    assert [each["interface"]["name"] for each in status["network"]["endpoints"]] == [
        "eth0",
        "net7",
    ]
    assert "inet 10.77.1.2/24" in sh(host, pod, "ip addr show net7")
    assert "10.99.0.0/16 via 10.77.1.1 dev net7" in sh(host, pod, "ip route")
    assert sh(host, pod, f"wget -qO- http://{other}:8080/").startswith("page of ")
    assert host.refuse("pod", "disconnect", pod, "eth9")["kind"] == "not-found"
    status = host.ask("pod", "disconnect", pod, "net7")
    assert len(status["network"]["endpoints"]) == 1
    assert "net7" not in sh(host, pod, "ip link")
    assert "default via 10.77.0.1" in sh(host, pod, "ip route")
    lan.unplug(namespace, "net7")
    assert lans.picture(namespace) == before


def test_a_namespace_that_was_given_is_as_before_when_the_pod_stops(
    host: Host, lan: lans.Lan, two: tuple[dict[str, object], dict[str, object]]
):
    status = host.status("two")["network"]
    assert (status["created"], status["endpoints"][0]["model"]) == (False, "bridged")
    for name, before in zip(("one", "two"), two, strict=True):
        host.do("pod", "stop", name)
        assert lans.picture(lan.root / name) == before
        assert host.status(name)["network"] is None
        host.do("pod", "delete", name)
        assert netns.is_namespace(lan.root / name)
