"""config.toml: where it is found, what overrides what, what is said about mistakes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vctui import settings
from vctui.errors import FileProblem, InvalidConfig


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def test_an_option_beats_the_environment_which_beats_the_file(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text('[paths]\nrun_dir = "/f/run"\nstate_dir = "/f/state"\ncache_dir = "/f/c"\n')
    monkeypatch.delenv("VCTUI_CACHE_DIR")
    monkeypatch.setenv("VCTUI_RUN_DIR", "/e/run")
    monkeypatch.setenv("VCTUI_STATE_DIR", "/e/state")
    found = settings.load(config, {"run_dir": "/o/run"})
    assert found.run_dir == Path("/o/run")
    assert found.state_dir == Path("/e/state")
    assert found.cache_dir == Path("/f/c")


def test_the_environment_names_the_file_unless_an_option_does(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text("[pod]\nmemory = 300\n")
    other = tmp_path / "other.toml"
    other.write_text("[pod]\nmemory = 400\n")
    monkeypatch.setenv("VCTUI_CONFIG", str(config))
    assert settings.load().pod.memory == 300
    assert settings.load(other).pod.memory == 400


def test_folders_become_absolute(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("")
    monkeypatch.chdir(config.parent)
    assert settings.load(config, {"run_dir": "here"}).run_dir == config.parent / "here"
    config.write_text('[template]\nmemory_dir = "~/memory"\n')
    assert settings.load(config).template.memory_dir == str(Path("~/memory").expanduser())


def test_folders_that_nobody_names_are_the_systems_for_root_and_ones_own_otherwise(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text("")
    for name in ("RUN", "STATE", "CACHE"):
        monkeypatch.delenv(f"VCTUI_{name}_DIR", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert settings.load(config).state_dir == Path("/var/lib/vctui")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    assert settings.load(config).state_dir == Path("/home/ann/.local/state/vctui")
    assert settings.load(config).run_dir == Path("/run/user/1000/vctui")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert settings.load(config).run_dir == Path("/home/ann/.local/state/vctui/run")


def test_a_named_file_that_is_missing_is_a_problem(config: Path) -> None:
    with pytest.raises(FileProblem, match="No such file or directory; name another with --config"):
        settings.load(config)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[pod]\nmemori = 3", "pod.memori is not a known key; did you mean 'memory'?"),
        ('[pod]\nmemory = "3"', "pod.memory must be an integer, not '3'"),
        (
            "[qemu]\nmachine_type = 'arm'",
            "qemu.machine_type must be one of q35, pc, microvm, not 'arm'",
        ),
        ("[keys]\nstop = 3", "keys.stop must be a string, not 3"),
        ("[template]\npool = 65", "template.pool must be an integer from 0 to 64, not 65"),
        ("[template]\npool = true", "template.pool must be an integer from 0 to 64, not true"),
        ("[template]\nkeep_hours = -1", "template.keep_hours must be a number from 0 on, not -1"),
    ],
)
def test_a_mistake_is_named_with_the_path_of_its_key(config: Path, text: str, said: str) -> None:
    config.write_text(text)
    with pytest.raises(InvalidConfig) as caught:
        settings.load(config)
    assert str(caught.value) == f"{config}: {said}"


def test_a_file_that_is_no_toml_names_the_line(config: Path) -> None:
    config.write_text("[pod\n")
    with pytest.raises(FileProblem, match=r"is not valid TOML: .*line 1"):
        settings.load(config)
