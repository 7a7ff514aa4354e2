"""What every test may rely on: markers say their needs, and nothing touches the host's own
folders."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import hypothesis
import pytest

from vctui import settings

# GNU readline, which pytest's workers load, tells of a terminal that is not there.
for _name in ("LINES", "COLUMNS"):
    os.environ.pop(_name, None)

# How long an example takes says more of the machine's load than of the code.
hypothesis.settings.register_profile("vctui", deadline=None, print_blob=True)
hypothesis.settings.load_profile("vctui")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that cannot run here is skipped with the need that is missing."""
    lacking = {}
    if os.geteuid() != 0:
        lacking["root"] = "needs root on the host (mounts, namespaces)"
    if not shutil.which("qemu-system-x86_64"):
        lacking["vm"] = "needs QEMU: apt-get install qemu-system-x86"
    for item in items:
        for marker, reason in lacking.items():
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def guest_cache() -> Path:
    """The folder of built guests that tests share: building one takes a minute."""
    return Path(os.environ.get("VCTUI_CACHE_DIR") or settings.load().cache_dir)


@pytest.fixture(autouse=True)
def _own_folders(
    guest_cache: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings that a test loads without naming folders must not lead to the host's pods."""
    monkeypatch.setenv("VCTUI_CACHE_DIR", str(guest_cache))
    monkeypatch.delenv("VCTUI_CONFIG", raising=False)
    for name in ("VCTUI_RUN_DIR", "VCTUI_STATE_DIR"):
        monkeypatch.setenv(name, str(tmp_path_factory.getbasetemp() / name.lower()))
