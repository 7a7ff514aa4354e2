"""The documents say what the program does."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import msgspec
import pytest

from vctui.cli.main import root
from vctui.model.agent import AgentConfig
from vctui.model.container import Capabilities, Cmd, ContainerConfig, EnvVar, Mount
from vctui.model.device import DeviceInfo
from vctui.model.hook import Hook, Hooks
from vctui.model.hypervisor import HypervisorConfig, Param
from vctui.model.linux import ContainerResources, DeviceRule, Linux, Rlimit
from vctui.model.pod import PodConfig, Resources
from vctui.model.podfile import Format, parse_pod
from vctui.model.proxy import ProxyConfig
from vctui.model.seccomp import Seccomp, SeccompArg, SeccompRule
from vctui.model.shim import ShimConfig
from vctui.model.volume import Volume
from vctui.tui.actions import ACTIONS, Action

ROOT = Path(__file__).parents[2]
POD_FILE = (ROOT / "docs" / "pod-file.md").read_text()
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
STRUCTURES = (
    *(PodConfig, Resources, HypervisorConfig, Param, Hooks, Hook, Volume),
    *(AgentConfig, ProxyConfig, ShimConfig),
    *(ContainerConfig, Cmd, EnvVar, Capabilities, Mount, DeviceInfo),
    *(ContainerResources, DeviceRule, Linux, Rlimit, Seccomp, SeccompRule, SeccompArg),
)


@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda structure: structure.__name__)
def test_every_key_of_a_pod_file_is_explained(structure: type[msgspec.Struct]) -> None:
    prose = re.sub(r"```.*?```", "", POD_FILE, flags=re.DOTALL)
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", prose))))
    assert set(structure.__struct_fields__) <= words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pod_files_in_documents_are_valid(page: Path) -> None:
    for block in re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL):
        if re.search(r'^id = "', block, re.MULTILINE):
            parse_pod(block, Format.TOML, source=page.name, base_dir=ROOT, defaults={})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_documents_exist(page: Path) -> None:
    for line in re.findall(r"vctui ((?:[a-z]+ ?)+)", " ".join(code_of(page.read_text()))):
        group: click.Command = root
        for word in line.split():
            if not isinstance(group, click.Group):
                break
            command = group.get_command(click.Context(group), word)
            assert command, f"`vctui {line}` in {page.name}"
            group = command


PLACES = {
    "pod": "web",
    "container": "main",
    "file": "f",
    "args": "ls",
    "signal": "TERM",
    "all": "",
    "ports": "8080:80",
}


@pytest.mark.parametrize("action", [one for one in ACTIONS if one.command], ids=lambda one: one.id)
def test_the_command_that_the_console_shows_for_an_action_is_one(action: Action) -> None:
    for line in action.command.format(**PLACES).split("&&"):
        program, *words = shlex.split(line)
        assert program == "vctui"
        command: click.Command = root
        while isinstance(command, click.Group):
            found = command.get_command(click.Context(command), words[0])
            assert found, line
            command, words = found, words[1:]
        command.make_context(line, words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_in_documents_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def code_of(text: str) -> list[str]:
    """What stands in code blocks and between backticks."""
    blocks = re.findall(r"```(?:console|sh)?\n(.*?)```", text, re.DOTALL)
    return [*blocks, *re.findall(r"`(vctui [^`\n]+)`", text)]
