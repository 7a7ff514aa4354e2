"""Networks by name with real guests: `vctui network init`, and pods on two of them."""

from __future__ import annotations

import http.server
import os
import re
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import cnihost
from tests.e2e.cnihost import CniHost
from tests.e2e.conftest import wait_until
from tests.e2e.test_images import busybox
from tests.images.archives import Image, docker_files, layer, write_tar
from vctui.linux import netns
from vctui.linux.links import Links

pytestmark = [
    pytest.mark.vm,
    pytest.mark.root,
    pytest.mark.skipif(not (cnihost.PLUGINS / "bridge").exists(), reason=cnihost.MISSING),
]

SERVE = (
    "mkdir /www; echo page of $(hostname) >/www/index.html; /bin/httpd -p 127.0.0.1:81 -h /www;"
    "exec /bin/httpd -f -p 80 -h /www"
)
WEB = {"host_port": 8088, "container_port": 80}
MANIFEST = f"""
apiVersion: v1
kind: Pod
metadata: {{name: one}}
spec:
  containers:
    - name: main
      image: e2e/busybox
      command: ["/bin/sh", "-c"]
      args: ["{SERVE}"]
      ports: [{{containerPort: 80, hostPort: 8087}}]
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, guest_cache: Path) -> Iterator[CniHost]:
    """Pods `one`, from a manifest, and `two` on the default network, `three` on another; `two` is
    on both."""
    environment = {name: value for name, value in os.environ.items() if name[:6] != "VCTUI_"}
    with cnihost.made(tmp_path_factory.mktemp("cni"), guest_cache, environment) as made:
        made.do("network", "init", "--subnet", "10.61.0.0/24", "--subnet", "fd61::/64")
        made.do("network", "init", "other", "--subnet", "10.62.0.0/24")
        image = Image((layer(*busybox(guest_cache)),))
        path = write_tar(made.root / "busybox.tar", docker_files(image, "e2e/busybox"))
        made.do("image", "import", str(path))
        made.do("pod", "run", made.file("one.yaml", MANIFEST))
        for name, config in (
            ("two", {"networks": ["vctui", "other"]}),
            ("three", {"networks": ["other"], "port_mappings": [WEB]}),
        ):
            file = made.pod(name, ("main", SERVE), network_model="CNI", network_config=config)
            made.do("pod", "run", file)
        yield made


def sh(host: CniHost, pod: str, script: str) -> str:
    return host.do("container", "exec", pod, "main", "--", "sh", "-c", script)


def address(host: CniHost, pod: str, family: int = 4) -> str:
    endpoint = host.status(pod)["network"]["endpoints"][0]
    found: list[str] = endpoint["interface"]["addresses"]
    return next(one.split("/")[0] for one in found if (":" in one) == (family == 6))


def fetch(host: CniHost, url: str) -> str:
    def get() -> str:
        with urllib.request.urlopen(url, timeout=20) as page:
            return page.read().decode()

    return netns.inside(host.namespace, get)


def test_pods_with_networks_begin_as_templates(host: CniHost) -> None:
    assert host.status("one")["machine"]["boot"].startswith("restored from a template")


def test_pods_of_a_network_fetch_pages_from_each_other(host: CniHost) -> None:
    one, two = address(host, "one"), address(host, "two", 6)
    assert sh(host, "two", f"timeout 20 wget -qO- http://{one}/") == "page of one\n"
    assert sh(host, "one", f"timeout 20 wget -qO- http://[{two}]/") == "page of two\n"


def test_the_host_fetches_from_pods_and_pods_from_the_host(host: CniHost) -> None:
    assert fetch(host, f"http://{address(host, 'one')}/") == "page of one\n"
    assert fetch(host, f"http://{address(host, 'three')}/") == "page of three\n"

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"page of the host")

        def log_message(self, *_: object) -> None:
            pass

    server = netns.inside(host.namespace, http.server.HTTPServer, ("10.61.0.1", 8081), Page)
    with server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            got = sh(host, "two", "wget -qO- http://10.61.0.1:8081/")
        finally:
            server.shutdown()
            serving.join()
    assert got == "page of the host"


def test_pods_of_another_network_are_not_reached(host: CniHost) -> None:
    for pod, other in (("three", "one"), ("one", "three")):
        script = f"timeout 3 wget -qO- http://{address(host, other)}/ 2>&1 || echo no"
        assert sh(host, pod, script) == "Terminated\nno\n"


def test_a_port_of_the_host_leads_to_the_pod_that_asks_for_it(host: CniHost) -> None:
    for place in ("10.61.0.1", "[fd61::1]", "127.0.0.1"):  # hostPort of the manifest
        assert fetch(host, f"http://{place}:8087/") == "page of one\n"
    assert fetch(host, "http://127.0.0.1:8088/") == "page of three\n"
    assert sh(host, "two", "timeout 20 wget -qO- http://10.61.0.1:8087/") == "page of one\n"
    assert "8087/tcp -> 80" in host.do("pod", "network", "one")
    config = {"port_mappings": [{**WEB, "host_ip": "10.61.0.1"}, {**WEB, "host_port": 8089}]}
    file = host.pod("thief", ("main", SERVE), network_model="CNI", network_config=config)
    said = host.refuse("pod", "run", file)["message"]
    assert "the host's port 8088/tcp leads to pod 'three'" in said
    assert len(host.ask("pod", "list")) == 3


def test_a_pod_on_two_networks_reaches_both(host: CniHost) -> None:
    assert sh(host, "two", "cd /sys/class/net; echo eth*") == "eth0 eth1\n"
    for other in ("one", "three"):
        page = sh(host, "two", f"timeout 20 wget -qO- http://{address(host, other)}/")
        assert page == f"page of {other}\n"


def test_forwarded_ports_lead_to_the_pod_until_they_are_interrupted(host: CniHost) -> None:
    """Also to what listens on the pod's loopback device only, which its own address does not."""
    forward = host.start("pod", "port-forward", "one", "0:80", "0:81")
    assert forward.stdout is not None
    lines = [forward.stdout.readline() for _ in range(4)]
    v4, v6, inside, _ = (line.split()[0] for line in lines)
    assert v6.startswith("[::1]:")
    assert fetch(host, f"http://{v4}/") == "page of one\n"
    assert fetch(host, f"http://{v6}/") == "page of one\n"
    with pytest.raises(OSError, match="refused"):
        fetch(host, f"http://{address(host, 'one')}:81/")
    for _ in range(2):
        assert fetch(host, f"http://{inside}/") == "page of one\n"
    wait_until(lambda: "nc" not in host.do("container", "ps", "one", "main"), "the relays' end")
    forward.send_signal(signal.SIGINT)
    assert forward.communicate(timeout=20)[1] == ""
    assert forward.returncode == 130
    with pytest.raises(OSError, match="refused"):
        fetch(host, f"http://{v4}/")


def test_the_plugins_say_whether_a_network_is_in_order(host: CniHost) -> None:
    namespace = Path(host.status("two")["network"]["namespace"])
    two = f"{address(host, 'two')}/24"
    host.do("pod", "network", "two", "--check")

    def change(what: str) -> None:
        with Links() as net:
            getattr(net, what)(net.get("eth0"), two)

    netns.inside(namespace, change, "delete_address")
    try:
        error = host.refuse("pod", "network", "two", "--check")
    finally:
        netns.inside(namespace, change, "add_address")
    assert error["kind"] == "network"
    assert "(CHECK) of network 'vctui' failed" in error["message"]


def test_a_pods_network_is_shown_with_what_went_through(host: CniHost) -> None:
    shown = host.do("pod", "network", "three")
    assert "network           other" in shown
    assert "default via 10.62.0.1 dev eth0" in shown
    before = host.ask("pod", "network", "three")["traffic"][0]
    sh(host, "three", "ping -c 1 -s 1000 10.62.0.1")
    after = host.ask("pod", "network", "three")["traffic"][0]
    assert after["interface"] == "eth0"
    assert after["sent"] - before["sent"] >= 1000
    assert after["received"] - before["received"] >= 1000


def test_twenty_guests_leave_the_host_as_it_was(host: CniHost) -> None:
    before = host.picture()

    def all_of(commands: list[subprocess.Popen[str]]) -> None:
        for command in commands:
            _, said = command.communicate(timeout=120)
            assert command.returncode == 0, said

    for at in range(0, 20, 4):
        names = [f"crowd{number}" for number in range(at, at + 4)]
        files = [host.pod(name, ("main", "sleep 1000"), network_model="CNI") for name in names]
        all_of([host.start("pod", "run", file) for file in files])
        assert len({address(host, name) for name in names}) == 4
        [network] = [one for one in host.ask("network", "list") if one["name"] == "vctui"]
        assert set(network["pods"]) == {"one", "two", *names}
        all_of([host.start("pod", "delete", name) for name in names])
    assert host.picture() == before


def test_the_pods_end_ends_the_forwarding_and_nothing_is_left(host: CniHost) -> None:
    assert host.refuse("network", "remove", "other")["kind"] == "wrong-state"
    forward = host.start("pod", "port-forward", "three", "0:80")
    assert forward.stdout is not None
    forward.stdout.readline()
    host.do("pod", "delete", "three")
    assert "pod 'three'" in forward.communicate(timeout=20)[1]
    assert forward.returncode == 1
    for name in ("one", "two"):
        host.do("pod", "delete", name)
    host.do("network", "remove", "other")
    assert not {"8087", "8088"} & set(re.findall(r"\d+", str(host.picture()["rules"])))
    host.do("network", "remove", "vctui")
    left = host.picture()
    assert [link[0] for link in left["links"]] == ["lo"]
    assert (left["leases"], left["left"]) == ([], [])
