"""The command line in this process, on a mock hypervisor and folders of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from vctui.cli.main import run

CONFIG = """
[pod]
hypervisor_type = "mock"
agent_type = "noop"
"""
WEB = """
id = "web"
[[containers]]
id = "main"
rootfs = "{rootfs}"
cmd = {{args = ["sleep", "1000"]}}
"""


@dataclass(frozen=True, slots=True)
class Result:
    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Cli = Callable[..., Result]


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    """The options that keep a call away from the host's own pods."""
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)
    return [
        f"--config={config}",
        f"--run-dir={tmp_path / 'run'}",
        f"--state-dir={tmp_path / 'state'}",
        f"--cache-dir={tmp_path / 'cache'}",
    ]


@pytest.fixture
def cli(folders: list[str], capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run one command line; a console that is opened says so and exits with 7."""

    def call(*argv: str) -> Result:
        def open_console(settings: object, *, read_only: bool) -> int:
            print(f"the console, read-only: {read_only}")  # noqa: T201
            return 7

        capsys.readouterr()
        status = run([*folders, *argv], open_console=open_console)
        return Result(status, *capsys.readouterr())

    return call


@pytest.fixture
def web(tmp_path: Path) -> Path:
    """A pod file of one container."""
    rootfs = tmp_path / "rootfs"
    rootfs.mkdir()
    file = tmp_path / "web.toml"
    file.write_text(WEB.format(rootfs=rootfs))
    return file
