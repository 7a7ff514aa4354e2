"""A host whose network is a namespace of the test's own, with Debian's CNI plugins."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import lan
from tests.e2e.conftest import Host
from vctui.linux import netns

PLUGINS = Path("/usr/lib/cni")
MISSING = "needs containernetworking-plugins (apt-get install containernetworking-plugins)"


@dataclass(frozen=True)
class CniHost(Host):
    namespace: Path

    def start(self, *words: str, **how: Any) -> subprocess.Popen[str]:
        return netns.inside(self.namespace, super().start, *words, **how)

    def run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return netns.inside(self.namespace, super().run, *words, stdin=stdin)

    def script(self, name: str, text: str) -> None:
        """A plugin of the test's own."""
        program = self.root / "bin" / name
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)

    def bridge(self, name: str, subnet: str, *more: str) -> None:
        """A network of a bridge, and of plugins of the test's own after it."""
        ipam = {"type": "host-local", "dataDir": str(self.leases), "subnet": subnet}
        first = {"type": "bridge", "bridge": f"br-{name}", "isGateway": True, "ipam": ipam}
        plugins = [first, *({"type": kind} for kind in more)]
        document = {"cniVersion": "1.0.0", "name": name, "plugins": plugins}
        folder = self.root / "net.d"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.conflist").write_text(json.dumps(document))

    @property
    def leases(self) -> Path:
        return self.root / "leases"

    def taken(self) -> list[str]:
        """Addresses that pods have, or nobody has given back."""
        files = [*self.leases.rglob("*"), *(self.root / "state" / "ipam").rglob("*")]
        names = (path.name for path in files if "_" not in path.name)
        return sorted(name for name in names if set(name) & {".", ":"})

    def picture(self) -> dict[str, object]:
        """Links, addresses, routes and queues of the host, its packet filter, the addresses that
        are taken, and namespaces."""

        def rules() -> list[str]:
            found = []
            for program in ("iptables-save", "ip6tables-save"):
                done = subprocess.run([program], capture_output=True, text=True, check=True)
                found += [line for line in done.stdout.splitlines() if line[:1] == "-"]
            return found

        return {
            **lan.picture(self.namespace),
            "rules": netns.inside(self.namespace, rules),
            "leases": self.taken(),
            "left": self.left_over(),
        }


@contextmanager
def made(root: Path, cache: Path, environment: dict[str, str]) -> Iterator[CniHost]:
    (root / "bin").mkdir()
    config = root / "config.toml"
    folders = [str(root / "bin"), str(PLUGINS)]
    config.write_text(
        f"[network]\nconfig_dir = '{root / 'net.d'}'\nplugin_dirs = {folders}\n", encoding="utf-8"
    )
    namespace = root.with_name(f"{root.name}-netns")
    netns.create(namespace)
    host = CniHost(
        root=root,
        environment={
            **environment,
            "VCTUI_CONFIG": str(config),
            "VCTUI_RUN_DIR": str(root / "run"),
            "VCTUI_STATE_DIR": str(root / "state"),
            "VCTUI_CACHE_DIR": str(cache),
            "HOME": str(root),
        },
        namespace=namespace,
    )
    try:
        yield host
        for pod in host.ask("pod", "list"):
            host.run("pod", "delete", pod["id"])
        assert host.left_over() == []
    finally:
        netns.remove(namespace)
