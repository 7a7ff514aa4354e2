from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vctui.linux import hugepages

_ASK = "print(next(line for line in open('/proc/self/status') if line.startswith('THP_enabled')))"


def _device(folder: Path, name: str, kind: int, features: str) -> None:
    (folder / name).mkdir()
    (folder / name / "device").write_text(f"{kind:#06x}\n")
    (folder / name / "features").write_text(f"{features:0<64}\n")


@pytest.mark.parametrize(("features", "taken"), [("011001", True), ("011000", False), ("", False)])
def test_a_balloon_tells_whether_free_memory_is_taken(
    tmp_path: Path, features: str, taken: bool
) -> None:
    _device(tmp_path, "virtio0", 2, "1" * 64)
    _device(tmp_path, "virtio1", 5, features)
    assert hugepages.are_taken(tmp_path) is taken


def test_a_machine_without_a_balloon_keeps_its_memory(tmp_path: Path) -> None:
    assert not hugepages.are_taken(tmp_path)
    assert not hugepages.are_taken(tmp_path / "none")
    (tmp_path / "virtio0").mkdir()
    (tmp_path / "virtio0" / "device").write_text("what\n")
    assert not hugepages.are_taken(tmp_path)


@pytest.mark.parametrize("slow", [True, False])
def test_only_what_is_started_in_the_block_uses_small_pages(
    monkeypatch: pytest.MonkeyPatch, slow: bool
) -> None:
    monkeypatch.setattr(hugepages, "_slow_here", lambda: slow)
    with hugepages.avoided():
        within = _allowed()
    assert (within, _allowed()) == (not slow, True)


def _allowed() -> bool:
    done = subprocess.run([sys.executable, "-c", _ASK], capture_output=True, text=True, check=True)
    return done.stdout.split()[1] == "1"
