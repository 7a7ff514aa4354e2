"""The programs that serve virtio-fs: which there are, and how each is told."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from vctui.drivers.hypervisors.base import Share
from vctui.drivers.storage import virtiofs
from vctui.errors import HostProblem, MissingProgram, PermissionProblem
from vctui.linux import probe, process, sockets

OF_QEMU = "virtiofsd version 7.2.22 (Debian 1:7.2+dfsg-7)"
IN_RUST = "virtiofsd 1.13.2"


def program(tmp_path: Path, version: str, then: str = "exec sleep 60") -> Path:
    """One that says that it is of a version, and does something otherwise."""
    path = tmp_path / "virtiofsd"
    path.write_text(f'#!/bin/sh\ntest "$1" = --version && echo "{version}" && exit\n{then}\n')
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("said", "version", "of_qemu"),
    [
        (OF_QEMU, "7.2.22", True),
        (IN_RUST, "1.13.2", False),
        ("virtiofsd backend 1.4.0", "1.4.0", False),
    ],
)
async def test_a_program_is_asked_which_it_is(tmp_path, said, version, of_qemu):
    found = await virtiofs.examine(virtiofs.find(str(program(tmp_path, said))))
    assert (found.version, found.of_qemu) == (version, of_qemu)


@pytest.mark.parametrize("said", ["", "something 1.0", "virtiofsd version"])
async def test_another_program_is_refused(tmp_path, said):
    with pytest.raises(HostProblem, match="does not say that it is a virtiofsd"):
        await virtiofs.examine(program(tmp_path, said))


def test_a_missing_one_has_a_remedy(tmp_path):
    with pytest.raises(
        MissingProgram, match=r"not installed; run `apt-get install .*shared_fs to 9p"
    ):
        virtiofs.find(str(tmp_path / "nowhere"))


def test_qemus_own_is_told_in_its_words(monkeypatch):
    monkeypatch.setattr(probe, "open_files", lambda: 4096)
    one = virtiofs.Program(Path("/v"), "7.2", of_qemu=True, sandbox="namespace")
    argv = one.argv("/run/a,b\\c/share0/.", 9)
    assert argv[:3] == ("/v", "--fd=9", "--rlimit-nofile=4096")
    assert "-osource=/run/a\\,b\\\\c/share0/." in argv  # in which a comma would end the value
    assert {"-osandbox=namespace", "-oannounce_submounts", "-oxattr", "-ocache=auto"} <= set(argv)


def test_the_one_in_rust_is_told_in_its_words():
    one = virtiofs.Program(Path("/v"), "1.13", of_qemu=False, sandbox="none")
    argv = one.argv("/run/a,b/share0/.", 9)
    assert "--shared-dir=/run/a,b/share0/." in argv
    assert {"--sandbox=none", "--announce-submounts", "--xattr", "--cache=auto"} <= set(argv)
    assert not any(each.startswith("-o") for each in argv)


async def test_who_is_not_root_is_told_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "is_root", lambda: False)
    with pytest.raises(PermissionProblem, match="runs as root only; run vctui as root"):
        virtiofs.check(await virtiofs.examine(program(tmp_path, OF_QEMU)))
    virtiofs.check(await virtiofs.examine(program(tmp_path, IN_RUST)))


async def test_a_program_is_started_for_each_share_and_found_by_the_pods_folder(tmp_path):
    run = tmp_path / "run"
    for folder in (run, tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
    shares = virtiofs.sockets(
        [Share(tag=name, path=tmp_path / name) for name in ("one", "two")], run
    )
    found = await virtiofs.examine(program(tmp_path, IN_RUST, "read _ # waits\nexec sleep 60"))
    daemons = virtiofs.serve(shares, found)
    assert [one.tag for one in daemons] == ["one", "two"]
    assert (run / "share1").resolve() == tmp_path / "two"
    for share, one in zip(shares, daemons, strict=True):
        assert share.socket is not None
        (await sockets.connect(share.socket)).close()  # it listens already
        await process.terminate(one.pid, one.started, timeout=0)
    again = virtiofs.serve(shares[:1], await virtiofs.examine(program(tmp_path, IN_RUST)))
    os.kill(again[0].pid, signal.SIGKILL)
    await process.wait_end(again[0].pid, again[0].started)


async def test_what_one_said_before_it_ended_is_passed_on(tmp_path):
    (tmp_path / "one").mkdir()
    shares = virtiofs.sockets([Share(tag="one", path=tmp_path / "one")], tmp_path)
    complaining = program(tmp_path, IN_RUST, "echo no luck >&2; exit 1")
    (ended,) = virtiofs.serve(shares, await virtiofs.examine(complaining))
    await process.wait_end(ended.pid, ended.started)
    assert virtiofs.last_words(tmp_path, (ended,)) == "virtiofsd for 'one' ended: no luck"
