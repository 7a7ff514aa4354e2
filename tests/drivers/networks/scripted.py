"""CNI plugins that are shell scripts: they note what they are told and then do what they shall."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vctui.drivers.networks.cni import CniNetwork
from vctui.settings import Network

RESULT = (
    '{"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": "/ns"}], '
    '"ips": [{"address": "10.1.0.5/16", "gateway": "10.1.0.1", "interface": 0}], '
    '"dns": {"nameservers": ["10.1.0.1"], "search": ["pods.example"]}}'
)
GOOD = f"echo '{RESULT}'"
FAILS = """echo '{"code": 7, "msg": "no such subnet", "details": "line 3"}'; exit 1"""
PANICS = "echo 'panic: oops' >&2; exit 2"
KILLED = "kill -SEGV $$"
PRINTS_RUBBISH = "echo hello"
PRINTS_NOTHING = ":"
FLOODS = "head -c 300000 /dev/zero | tr '\\0' x"
HANGS = 'sleep 60 & echo $! >"$0.child"; wait'


@dataclass(frozen=True, slots=True)
class Call:
    plugin: str
    command: str
    container: str
    netns: str
    interface: str
    stdin: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Host:
    """A host of scripted plugins and of networks made of them."""

    folder: Path

    @property
    def programs(self) -> Path:
        return self.folder / "bin"

    @property
    def networks(self) -> Path:
        return self.folder / "net.d"

    def driver(self, *, timeout: float = 10.0, default: str = "") -> CniNetwork:
        return CniNetwork(
            Network(
                config_dir=str(self.networks),
                plugin_dirs=(str(self.folder / "nowhere"), str(self.programs)),
                plugin_timeout=timeout,
                default=default,
            )
        )

    def plugin(self, name: str, *, add: str = GOOD, delete: str = ":", check: str = ":") -> Path:
        self.programs.mkdir(exist_ok=True)
        script = self.programs / name
        script.write_text(
            f"""#!/bin/sh
{{ echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_NETNS. $CNI_IFNAME"; cat; echo; }} >"$0.now"
(flock 9; echo "{name}"; cat "$0.now") >>"{self.folder}/calls" 9>"{self.folder}/lock"
case $CNI_COMMAND in
ADD) {add} ;;
DEL) {delete} ;;
CHECK) {check} ;;
esac
"""
        )
        script.chmod(0o755)
        return script

    def network(self, name: str, *plugins: str, version: str = "1.0.0", **more: Any) -> Path:
        self.networks.mkdir(exist_ok=True)
        file = self.networks / f"{name}.conflist"
        listed = [{"type": kind, "ipam": {}, **more} for kind in plugins]
        document = {"cniVersion": version, "name": name, "plugins": listed}
        file.write_text(json.dumps(document))
        return file

    def calls(self) -> list[Call]:
        if not (log := self.folder / "calls").exists():
            return []
        lines = log.read_text().splitlines()
        found = []
        for plugin, words, stdin in zip(lines[::3], lines[1::3], lines[2::3], strict=True):
            command, container, netns, interface = words.split()
            found.append(Call(plugin, command, container, netns[:-1], interface, json.loads(stdin)))
        return found

    def order(self) -> list[tuple[str, str]]:
        return [(call.command, call.plugin) for call in self.calls()]
