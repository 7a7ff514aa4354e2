"""virtio-fs on real guests, served by the virtiofsd that this host has."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.e2e.conftest import PATIENCE, Host, wait_until
from tests.e2e.test_images import busybox
from tests.images.archives import Image, docker_files, file, layer, write_tar
from vctui import settings
from vctui.drivers.storage import virtiofs
from vctui.errors import MissingProgram
from vctui.image.rootfs import rootfs_template
from vctui.linux import mounts

ZEROS = "58f06dd588d8ffb3beb46ada6309436b"
"""MD5 of 32 MiB of them."""

pytestmark = [pytest.mark.vm, pytest.mark.root]


@pytest.fixture(autouse=True)
def _needs_virtiofsd() -> None:
    try:
        virtiofs.find("")
    except MissingProgram as error:
        pytest.skip(f"needs virtiofsd: {error}")


class Vf:
    """The pod `vf`, and who serves its folders."""

    def __init__(self, host: Host, cache: Path) -> None:
        self.host = host
        self.run_dir = host.root / "run/pods/vf"
        self._template = rootfs_template(settings.load(None, {"cache_dir": str(cache)}), "busybox")

    def rootfs(self, name: str) -> str:
        """A root file system of the host, with its name in `/mark`."""
        made = self.host.root / name
        shutil.copytree(self._template, made, symlinks=True)
        (made / "mark").write_text(name)
        return str(made)

    def folder(self, name: str) -> str:
        made = self.host.root / name
        made.mkdir()
        (made / "from-host").write_text(name)
        return str(made)

    def container(
        self, name: str, *mounted: dict[str, object], **keys: object
    ) -> dict[str, object]:
        cmd = {"args": ["/bin/sleep", "100000"]}
        return {"id": name, "cmd": cmd, "mounts": mounted, **keys}

    def run(self, **keys: object) -> None:
        document = {"id": "vf", "hypervisor_config": {"shared_fs": "virtio-fs"}, **keys}
        self.host.do("pod", "run", self.host.file("vf.json", json.dumps(document)))

    def add(self, name: str, *mounted: dict[str, object], **keys: object) -> None:
        text = json.dumps(self.container(name, *mounted, **keys))
        self.host.do("container", "create", "vf", self.host.file("container.json", text))
        self.host.do("container", "start", "vf", name)

    def remove(self, name: str) -> None:
        self.host.do("container", "kill", "vf", name, "--signal", "KILL")
        self.host.do("container", "stop", "vf", name)
        self.host.do("container", "delete", "vf", name)

    def sh(self, name: str, script: str) -> str:
        return self.host.do("container", "exec", "vf", name, "--", "sh", "-c", script)

    def complaint(self, name: str, *words: str) -> str:
        return self.host.run("container", "exec", "vf", name, "--", *words).stderr

    def server(self, number: int) -> int:
        """The process that serves the pod's n-th share."""
        words = f"{self.run_dir}/share{number}/."
        found = [
            one.pid
            for one in self.host.processes("vf")
            if words in Path(f"/proc/{one.pid}/cmdline").read_text()
        ]
        assert len(found) == 1
        return found[0]

    def mounts_of_server(self) -> str:
        """What is mounted in the sandbox of who serves the pod's own share."""
        pid = self.server(0)
        inside = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return Path(f"/proc/{inside[0]}/mountinfo").read_text()


@pytest.fixture
def vf(host: Host, guest_cache: Path) -> Vf:
    return Vf(host, guest_cache)


def bind(source: str, destination: str, *, read_only: bool = False) -> dict[str, object]:
    return {"source": source, "destination": destination, "read_only": read_only}


def test_a_guest_is_shown_the_hosts_folders(vf: Vf, host: Host, guest_cache: Path):
    first, second, site = vf.rootfs("first"), vf.rootfs("second"), vf.folder("site")
    volume = {"type": "volume", "source": "data", "destination": "/data"}
    vf.run(  # with an agent on vsock, as those are that know no 9p
        agent_config={"socket_type": "hybrid-vsock"},
        volumes=[{"mount_tag": "data", "host_path": vf.folder("data")}],
        containers=[vf.container("one", bind(site, "/srv"), volume, rootfs=first)],
    )
    assert "no template, as virtio-fs is served to it" in host.status("vf")["machine"]["boot"]
    assert " / virtiofs " in vf.sh("one", "cat /proc/mounts")

    # the host's files in the guest; the guest's on the host, with the owner that it gave them
    assert vf.sh("one", "cat /mark /srv/from-host /data/from-host") == "firstsitedata"
    vf.sh("one", "echo hi > /srv/made; chown 7:8 /srv/made; chmod 640 /srv/made; touch /data/made")
    made = (host.root / "site/made").stat()
    assert (made.st_uid, made.st_gid, oct(made.st_mode)[-3:]) == (7, 8, "640")
    assert (host.root / "data/made").exists()
    # files of several mounts are several files, whatever their numbers on the host
    assert len(set(vf.sh("one", "stat -c %d / /srv /data").split())) == 3

    # what is mounted on the host later reaches the server in its sandbox, and leaves it again
    vf.add("late", bind(site, "/ro", read_only=True), rootfs=second)
    assert vf.sh("late", "cat /mark /ro/from-host") == "secondsite"
    assert "Read-only" in vf.complaint("late", "touch", "/ro/no")
    assert "/late@" in vf.mounts_of_server()
    vf.remove("late")
    assert "/late@" not in vf.mounts_of_server()
    # another root file system by a name that the guest may remember
    vf.add("late", rootfs=first, readonly_rootfs=True)
    assert vf.sh("late", "cat /mark") == "first"
    assert "Read-only" in vf.complaint("late", "touch", "/no")

    # an image, which changes stay with over a stop; with memory that is plugged in, and shared too
    image = Image((layer(*busybox(guest_cache), file("mark", "image")),))
    tar = write_tar(host.root / "image.tar", docker_files(image, "vf:1"))
    host.do("image", "import", str(tar))
    limit = {"memory_limit": 256 * 2**20}
    vf.add("shop", bind(site, "/srv"), image="vf:1", resources=limit)
    assert host.status("vf")["machine"]["memory"] > host.status("vf")["machine"]["boot_memory"]
    vf.sh("shop", "cat /mark; echo own > /mark; dd if=/dev/zero of=/srv/big bs=1M count=32")
    assert vf.sh("shop", "cat /mark; md5sum < /srv/big") == f"own\n{ZEROS}  -\n"
    host.do("container", "kill", "vf", "shop", "--signal", "KILL")
    host.do("container", "stop", "vf", "shop")
    host.do("container", "start", "vf", "shop")
    assert vf.sh("shop", "cat /mark") == "own\n"

    host.do("pod", "delete", "vf")
    assert host.left_over() == []


def test_a_machine_without_who_serves_its_folders_ends(vf: Vf, host: Host):
    """Its guest would hang. On a microvm, and with an agent that speaks Kata 1.x' protocol."""
    vf.run(
        hypervisor_config={"shared_fs": "virtio-fs", "hypervisor_machine_type": "microvm"},
        agent_config={"protocol": "grpc"},
        containers=[vf.container("one", rootfs="busybox")],
    )
    assert " / virtiofs " in vf.sh("one", "cat /proc/mounts")
    victim = vf.server(0)
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: host.status("vf")["state"] == "stopped", "the pod's end")
    reason = host.status("vf")["reason"]
    assert f"virtiofsd (process {victim}), which shows the guest 'kataShared', ended" in reason
    assert [one["message"] for one in host.ask("events") if one["kind"] == "machine-died"] == [
        reason
    ]
    wait_until(lambda: not host.processes("vf"), "the end of all its processes")
    assert mounts.mounts_below(vf.run_dir) == ()
    host.do("pod", "start", "vf")
    assert " / virtiofs " in vf.sh("one", "cat /proc/mounts")
    host.do("pod", "delete", "vf")


def test_a_pod_that_loses_who_serves_its_folders_while_it_starts_says_so(vf: Vf, host: Host):
    """In the middle of a call: a program runs before a container's first process, for ever."""
    site = Path(vf.folder("begun"))
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "> /srv/here; exec sleep 1000"]}
    one = vf.container("one", bind(str(site), "/srv"), rootfs="busybox", start_hooks=[hook])
    document = {"id": "vf", "hypervisor_config": {"shared_fs": "virtio-fs"}, "containers": [one]}
    starting = host.start("pod", "run", "--json", host.file("vf.json", json.dumps(document)))
    wait_until(lambda: (site / "here").exists() or starting.poll() is not None, "the program")
    victim = vf.server(0)
    os.kill(victim, signal.SIGKILL)
    said, _ = starting.communicate(timeout=PATIENCE)
    error = json.loads(said)["error"]
    assert (starting.returncode, error["kind"]) == (1, "machine-died")
    assert f"virtiofsd (process {victim}), which shows the guest" in error["message"]
    assert host.ask("pod", "list") == []
    assert host.left_over() == []


def test_an_engine_killed_between_who_serves_and_the_machine_leaves_nothing(host: Host):
    """Its folder is in their arguments, as in all of a pod's."""
    config = {"shared_fs": "virtio-fs"}
    host.do("pod", "create", host.pod("half", ("idle", "sleep 100"), hypervisor_config=config))
    starting = host.start("pod", "start", "half")
    wait_until((host.root / "run/pods/half/share0.sock").exists, "the first socket")
    starting.kill()
    starting.communicate(timeout=20)
    assert host.status("half")["state"] == "stopped"
    assert host.processes("half") == []
    host.do("pod", "delete", "half")
    assert host.left_over() == []
