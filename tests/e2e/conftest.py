"""The installed program on real machines: each test has a host of its own below tmp_path."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from vctui.linux import mounts, process

PROGRAM = str(Path(sys.executable).with_name("vctui"))
PATIENCE = 60.0


@dataclass(frozen=True)
class Host:
    """Folders of one vctui, and its command line."""

    root: Path
    environment: dict[str, str]

    def start(self, *words: str, **how: Any) -> subprocess.Popen[str]:
        how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how}
        return subprocess.Popen([PROGRAM, *words], env=self.environment, text=True, **how)

    def run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAM, *words],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE * 2,
        )

    def do(self, *words: str, stdin: str = "") -> str:
        """Standard output of a command that must succeed."""
        done = self.run(*words, stdin=stdin)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def ask(self, *words: str) -> Any:
        return json.loads(self.do(*words, "--json"))

    def refuse(self, *words: str, status: int = 1) -> dict[str, str]:
        """The error of a command that must fail, as --json gives it."""
        done = self.run(*words[:2], "--json", *words[2:])
        assert done.returncode == status, f"{words}: {done.stdout}{done.stderr}"
        error: dict[str, str] = json.loads(done.stdout)["error"]
        return error

    def file(self, name: str, text: str) -> str:
        path = self.root / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    def pod(self, pod_id: str, *containers: tuple[str, str], **keys: Any) -> str:
        """A pod file with shell scripts as containers; `keys` go to its top."""
        document = {
            "id": pod_id,
            "containers": [
                {"id": name, "rootfs": "busybox", "cmd": {"args": ["/bin/sh", "-c", script]}}
                for name, script in containers
            ],
            **keys,
        }
        return self.file(f"{pod_id}.json", json.dumps(document))

    def status(self, pod_id: str) -> Any:
        return self.ask("pod", "status", pod_id)

    def container(self, pod_id: str, container_id: str) -> Any:
        return self.ask("container", "status", pod_id, container_id)

    def processes(self, pod_id: str = "") -> list[process.Spawned]:
        folder = self.root / "run" / "pods"
        return process.find_by_argument(folder / pod_id if pod_id else folder)

    def left_over(self) -> list[str]:
        """What there is of pods, beyond the database and empty folders."""
        files = [
            str(path.relative_to(self.root))
            for folder in (self.root / "run", self.root / "state" / "rootfs")
            for path in folder.rglob("*")
            if path.is_socket() or path.is_file() or path.parent.name == "pods"
        ]
        running = [f"process {one.pid}" for one in process.find_by_argument(self.root / "run")]
        return [*files, *running, *mounts.mounts_below(self.root)]


def wait_until(condition: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {patience:g} s"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, guest_cache: Path) -> Iterator[Host]:
    root = tmp_path_factory.mktemp("host")
    environment = {name: value for name, value in os.environ.items() if name[:6] != "VCTUI_"}
    made = Host(
        root=root,
        environment={
            **environment,
            "VCTUI_RUN_DIR": str(root / "run"),
            "VCTUI_STATE_DIR": str(root / "state"),
            "VCTUI_CACHE_DIR": str(guest_cache),
            "HOME": str(root),
        },
    )
    yield made
    for pod in made.ask("pod", "list"):
        made.run("pod", "delete", pod["id"])
    assert made.left_over() == []
