"""Containers of imported images, in real guests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import Host, wait_until
from tests.images.archives import (
    Entry,
    Image,
    docker_files,
    file,
    folder,
    layer,
    oci_files,
    symlink,
    write_tar,
)
from vctui import settings
from vctui.image.rootfs import rootfs_template

pytestmark = pytest.mark.vm


def busybox(cache: Path) -> list[Entry]:
    """The built-in root file system, as the entries of a layer."""
    root = rootfs_template(settings.load(None, {"cache_dir": str(cache)}), "busybox")
    entries: list[Entry] = []
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            entries.append(symlink(name, str(path.readlink())))
        elif path.is_dir():
            entries.append(folder(name))
        else:
            entries.append(file(name, path.read_bytes(), mode=path.stat().st_mode & 0o7777))
    return entries


@pytest.fixture(scope="module")
def image(host: Host, guest_cache: Path) -> str:
    upper = layer(
        folder("srv", uid=7, gid=8),
        file("srv/data", "from the image", uid=7, gid=8),
        file("etc/.wh.hosts"),
        file(
            "start",
            '#!/bin/sh\nid -u; pwd; echo "$GREETING $1"; cat data; echo more >> data; '
            "exec sleep 1000\n",
            mode=0o755,
        ),
    )
    process = {
        "Entrypoint": ["/start"],
        "Cmd": ["cmd"],
        "Env": ["GREETING=hello"],
        "WorkingDir": "/srv",
        "User": "7:8",
    }
    made = Image((layer(*busybox(guest_cache), file("etc/hosts", "x")), upper), process, "gzip")
    path = write_tar(host.root / "image.tar", docker_files(made, "e2e/shop:1"))
    assert host.do("image", "import", str(path)) == "e2e/shop:1\n"
    return "e2e/shop:1"


def test_a_container_of_an_image_runs_what_it_says_and_keeps_its_changes(
    host: Host, image: str
) -> None:
    document = {
        "id": "images",
        "containers": [
            {"id": "one", "image": image},
            {"id": "two", "image": image, "cmd": {"args": ["mine"], "envs": ["GREETING=bye"]}},
        ],
    }
    host.do("pod", "run", host.file("images.json", json.dumps(document)))

    def read(container: str, path: str) -> str:
        return host.do("container", "exec", "images", container, "--", "cat", path)

    assert host.do("logs", "images", "one").startswith("7\n/srv\nhello cmd\nfrom the image")
    assert host.do("logs", "images", "two").startswith("7\n/srv\nbye mine\nfrom the image")
    assert host.run("container", "exec", "images", "one", "--", "ls", "/etc/hosts").returncode
    host.do("container", "exec", "images", "one", "--", "sh", "-c", "echo changed > /srv/data")
    assert read("two", "/srv/data") == "from the imagemore\n"
    host.do("pod", "restart", "images")
    assert read("one", "/srv/data") == "changed\nmore\n"
    assert host.refuse("image", "remove", image)["kind"] == "wrong-state"
    host.do("pod", "delete", "images")
    assert host.left_over() == []
    host.do("image", "remove", image)
    assert not list((host.root / "state/images/rootfs").iterdir())


def test_the_same_image_as_an_oci_archive_which_is_stopped_with_its_own_signal(
    host: Host, guest_cache: Path
) -> None:
    script = "trap 'echo bye; exit 7' USR1; echo oci; sleep 1000 & wait"
    process = {"Cmd": ["sh", "-c", script], "StopSignal": "SIGUSR1"}
    made = Image((layer(*busybox(guest_cache)),), process, "zstd")
    path = write_tar(host.root / "oci.tar", oci_files([(made, "oci:1")]))
    host.do("image", "import", str(path))
    document = {"id": "oci", "containers": [{"id": "main", "image": "oci:1"}]}
    host.do("pod", "run", host.file("oci.json", json.dumps(document)))
    wait_until(lambda: host.do("logs", "oci", "main") == "oci\n", "the trap stands")
    host.do("container", "stop", "oci", "main")
    assert host.do("logs", "oci", "main") == "oci\nbye\n"
    assert host.container("oci", "main")["exit_code"] == 7
    host.do("pod", "delete", "oci")
    host.do("image", "remove", "oci:1")
