"""`vctui network …`"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from vctui.linux import netns, probe
from vctui.linux.links import Links
from vctui.wire.cni.bridge import bridge_network


@pytest.fixture
def networks(tmp_path: Path, folders: list[str]) -> Path:
    """The folder of networks, of a host that has two plugins and no more."""
    programs = tmp_path / "plugins"
    programs.mkdir()
    for name in ("bridge", "host-local"):
        (programs / name).write_text(
            """#!/bin/sh\necho '{"cniVersion": "1.0.0", "supportedVersions": ["1.0.0"]}'\n"""
        )
        (programs / name).chmod(0o755)
    found = tmp_path / "net.d"
    with (tmp_path / "config.toml").open("a") as config:
        config.write(f'[network]\nconfig_dir = "{found}"\nplugin_dirs = ["{programs}"]\n')
    return found


def write(folder: Path, name: str, *subnets: str, made_here: bool = True) -> Path:
    document = bridge_network(name, bridge=f"br-{name}", subnets=subnets, leases="/nowhere")
    if not made_here:
        del document["madeBy"]
    folder.mkdir(exist_ok=True)
    file = folder / f"10-{name}.conflist"
    file.write_text(json.dumps(document))
    return file


def test_networks_are_listed_with_the_default_one(cli: Cli, networks: Path) -> None:
    assert cli("network", "list").err == "no networks; make one with: vctui network init\n"
    assert cli("network", "list", "--json").document == []
    write(networks, "blue", "10.5.0.0/16", "fd05::/64")
    write(networks, "red", "10.6.0.0/16")
    (networks / "30-bad.conf").write_text("{")
    result = cli("network", "list")
    assert [line.split() for line in result.lines] == [
        ["NAME", "PLUGINS", "SUBNETS", "BRIDGE", "PODS", "DEFAULT"],
        ["blue", "bridge", "10.5.0.0/16,fd05::/64", "br-blue", "0", "yes"],
        ["red", "bridge", "10.6.0.0/16", "br-red", "0"],
    ]
    assert "30-bad.conf is not valid JSON" in result.err
    listed = cli("network", "list", "--json").document
    assert [(one["name"], one["default"], one["made_here"]) for one in listed] == [
        ("blue", True, True),
        ("red", False, True),
    ]


def test_a_network_is_described_with_its_programs(cli: Cli, networks: Path) -> None:
    file = write(networks, "blue", "10.5.0.0/16")
    shown = cli("network", "inspect", "blue").out
    assert str(file) in shown
    assert "plugins/bridge  (CNI 1.0.0)" in shown
    document = cli("network", "inspect", "blue", "--json").document
    assert document["network"]["subnets"] == ["10.5.0.0/16"]
    assert [one["name"] for one in document["plugins"]] == ["bridge", "host-local"]
    assert document["config"]["plugins"][0]["isGateway"] is True
    (networks.parent / "plugins" / "bridge").unlink()
    assert "apt-get install containernetworking-plugins" in cli("network", "inspect", "blue").out


def test_a_network_that_is_not_there_is_said_with_the_nearest(cli: Cli, networks: Path) -> None:
    write(networks, "blue", "10.5.0.0/16")
    for verb in ("inspect", "remove"):
        result = cli("network", verb, "bleu")
        assert result.status == 1
        assert "did you mean 'blue'?" in result.err


def test_what_others_made_is_not_removed(cli: Cli, networks: Path) -> None:
    file = write(networks, "blue", "10.5.0.0/16", made_here=False)
    result = cli("network", "remove", "blue")
    assert (result.status, file.exists()) == (1, True)
    assert f"remove its file {file} yourself" in result.err


def test_a_network_that_is_there_stays_as_it_is(cli: Cli, networks: Path) -> None:
    before = write(networks, "vctui", "10.5.0.0/16").read_bytes()
    result = cli("network", "init")
    assert result.out == "vctui: 10.5.0.0/16 on br-vctui\n"
    assert cli("network", "init", "--subnet", "10.5.0.0/16").status == 0
    result = cli("network", "init", "--subnet", "10.9.0.0/16")
    assert result.status == 1
    assert "is there already, with 10.5.0.0/16" in result.err
    assert (networks / "10-vctui.conflist").read_bytes() == before


def test_a_network_in_the_way_of_another_is_refused(cli: Cli, networks: Path) -> None:
    write(networks, "blue", "10.5.0.0/16", "fd05::/64")
    for subnet, taken in (("10.5.7.0/24", "10.5.0.0/16"), ("fd05::/48", "fd05::/64")):
        result = cli("network", "init", "red", "--subnet", "10.6.0.0/16", "--subnet", subnet)
        assert result.status == 1
        assert f"the subnet {subnet} overlaps {taken} of network 'blue'; choose" in result.err
    assert len(list(networks.iterdir())) == 1
    assert cli("network", "init", "red", "--subnet", "10.6.0.0/16").status == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--subnet", "10.1.2.3/16"], "is no subnet"),
        (["--subnet", "10.1.2.4/31"], "is too small"),
        (["a b"], "is no name of a network"),
        (["--bridge", "a/b"], "is no name of an interface"),
        (["--subnet", "10.1.0.0/16", "--subnet", "10.1.2.0/24"], "overlap"),
    ],
)
def test_what_cannot_be_a_network_is_refused_and_nothing_made(
    cli: Cli, networks: Path, arguments: list[str], words: str
) -> None:
    result = cli("network", "init", *arguments)
    assert (result.status, networks.exists()) == (1, False)
    assert words in result.err


def test_read_only_makes_and_removes_nothing(cli: Cli, networks: Path) -> None:
    file = write(networks, "blue", "10.5.0.0/16")
    assert "changes are switched off" in cli("--read-only", "network", "init").err
    assert cli("--read-only", "network", "remove", "blue").status == 1
    assert file.exists()


def test_names_are_completed(cli: Cli, networks: Path, monkeypatch, folders) -> None:
    write(networks, "blue", "10.5.0.0/16")
    write(networks, "black", "10.6.0.0/16")
    monkeypatch.setenv("_VCTUI_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", " ".join(["vctui", *folders, "network", "inspect", "bl"]))
    monkeypatch.setenv("COMP_CWORD", str(len(folders) + 3))
    assert cli().out.split() == ["plain,black", "plain,blue"]


@pytest.mark.root
@pytest.mark.skipif(not probe.is_root(), reason="needs root")
@pytest.mark.skipif(
    not Path("/usr/lib/cni/bridge").exists(), reason="needs containernetworking-plugins"
)
def test_the_default_network_is_made_once_and_taken_away(
    tmp_path: Path, folders: list[str]
) -> None:
    host = tmp_path / "host"
    netns.create(host)
    with (tmp_path / "config.toml").open("a") as config:
        config.write(f'[network]\nconfig_dir = "{tmp_path / "etc" / "net.d"}"\n')

    def vctui(*argv: str) -> str:
        command = [str(Path(sys.executable).with_name("vctui")), *folders, *argv]
        done = netns.inside(host, subprocess.run, command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def links() -> list[str]:
        def names() -> list[str]:
            with Links() as net:
                return [link.name for link in net.all()]

        return netns.inside(host, names)

    def occupy() -> None:
        with Links() as net:
            net.add_address(net.get("lo"), "10.88.3.4/24")

    try:
        netns.inside(host, occupy)
        made = json.loads(vctui("network", "init", "--json"))
        assert made["subnets"][0] == "10.89.0.0/16"
        assert [subnet[:2] for subnet in made["subnets"][1:]] in ([], ["fd"])
        assert json.loads(vctui("network", "init", "--json")) == made
        assert vctui("network", "init", "a-two").startswith("a-two: 10.90.0.0/16")
        document = json.loads(Path(made["file"]).read_text())
        assert Path(made["file"]).stat().st_mode & 0o777 == 0o644
        assert document["plugins"][0]["ipMasq"] is True
        listed = json.loads(vctui("network", "list", "--json"))
        assert [(one["name"], one["default"]) for one in listed] == [
            ("vctui", True),
            ("a-two", False),
        ]
        assert vctui("network", "remove", "a-two") == "a-two removed\n"
        assert vctui("network", "remove", "vctui") == "vctui removed\n"
        assert list((tmp_path / "etc" / "net.d").iterdir()) == []
        assert links() == ["lo"]
    finally:
        netns.remove(host)
