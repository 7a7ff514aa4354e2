"""What apt says is read tolerantly; what it cannot deliver is named."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.errors import GuestBuildFailed, MissingProgram
from vctui.image import ingredients, packages

_SHOWN = """\
Package: crun
Version: 1:1.8-1
Depends: libc6 (>= 2.34), libsystemd0 (>= 246) | libelogind0, python3:any
Pre-Depends: base-files
Filename: pool/crun.deb
Size: 10
SHA256: ABC
Description: runtime
 Version: not this one

Package: purely-virtual

Package: libc6
Version: 2.36
Filename: pool/libc6.deb
"""


def test_stanzas_are_read() -> None:
    crun, libc = packages.parse_stanzas(_SHOWN)
    assert (crun.name, crun.version, crun.size, crun.sha256) == ("crun", "1:1.8-1", 10, "abc")
    assert crun.depends == (
        ("base-files",),
        ("libc6",),
        ("libsystemd0", "libelogind0"),
        ("python3",),
    )
    assert crun.file_name == "crun_1%3a1.8-1.deb"
    assert libc.depends == ()


@given(st.text())
def test_garbage_gives_no_packages_or_harmless_ones(text: str) -> None:
    list(packages.parse_stanzas(text))
    list(packages.parse_dependencies(text))


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A host whose apt knows the packages in `shown` and can download those in `pool`."""
    programs = tmp_path / "bin"
    programs.mkdir()

    class Host:
        shown = tmp_path / "shown"
        pool = tmp_path / "pool"
        calls = tmp_path / "calls"

        def program(self, name: str, script: str) -> None:
            file = programs / name
            file.write_text(f"#!/bin/sh\n{script}")
            file.chmod(0o755)

        def offer(self, name: str, depends: str = "", content: bytes = b"") -> None:
            digest = hashlib.sha256(content).hexdigest()
            with self.shown.open("a") as file:
                file.write(
                    f"Package: {name}\nVersion: 1:2\nDepends: {depends}\nFilename: x\n"
                    f"Size: {len(content)}\nSHA256: {digest}\n\n"
                )
            (self.pool / f"{name}_1%3a2_amd64.deb").write_bytes(content)

    found = Host()
    found.pool.mkdir()
    found.shown.touch()
    found.program("apt-cache", f'echo "$@" >> {found.calls}; cat {found.shown}')
    found.program(
        "apt-get",
        f'echo "$@" >> {found.calls}\n'
        'while [ "$1" != "--" ]; do shift; done; shift\n'
        f'for each; do cp {found.pool}/"${{each%%=*}}"_* . || '
        'echo "E: Failed to fetch http://there/x.deb  No route." >&2; done\n',
    )
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return found


def _ignore(done: int, total: int) -> None:
    assert 0 <= done <= total


async def test_dependencies_are_followed_as_far_as_wanted(host, tmp_path: Path) -> None:
    host.offer("crun", "libb | libz, tool, libmissing | libc")
    host.offer("libb", "libc")
    host.offer("libc")
    host.offer("tool", "libunwanted")
    apt = packages.Apt(tmp_path / "apt")
    found = await apt.closure(["crun"], lambda _, name: name.startswith("lib"))
    assert [package.name for package in found] == ["crun", "libb", "libc"]


async def test_an_unknown_package_is_named_with_the_remedy(host, tmp_path: Path) -> None:
    with pytest.raises(GuestBuildFailed, match=r"crun.*apt-get update"):
        await packages.Apt(tmp_path / "apt").get("crun")


async def test_packages_are_downloaded_once(host, tmp_path: Path) -> None:
    for name in ("one", "two"):
        host.offer(name, content=name.encode())
    known = await packages.Apt(tmp_path / "apt").look_up(["one", "two"])
    steps: list[tuple[int, int]] = []
    debs = tmp_path / "debs"
    for _ in range(2):
        await packages.download(
            list(known.values()), debs, lambda done, total: steps.append((done, total))
        )
    assert host.calls.read_text().count(" download ") == 1
    assert steps[-1] == (6, 6)
    assert sorted(file.read_bytes() for file in debs.iterdir()) == [b"one", b"two"]


async def test_a_package_that_changed_on_disk_is_fetched_again(host, tmp_path: Path) -> None:
    host.offer("one", content=b"one")
    known = await packages.Apt(tmp_path / "apt").look_up(["one"])
    debs = tmp_path / "debs"
    debs.mkdir()
    (debs / known["one"].file_name).write_bytes(b"half")
    await packages.download(list(known.values()), debs, _ignore)
    assert (debs / known["one"].file_name).read_bytes() == b"one"


async def test_without_a_network_the_first_missing_package_is_named(host, tmp_path: Path) -> None:
    for name in ("one", "two"):
        host.offer(name, content=name.encode())
    (host.pool / "two_1%3a2_amd64.deb").unlink()
    known = await packages.Apt(tmp_path / "apt").look_up(["one", "two"])
    debs = tmp_path / "debs"
    with pytest.raises(GuestBuildFailed, match=r"two 1:2 .*No route\); check") as caught:
        await packages.download(list(known.values()), debs, _ignore)
    assert "http" not in str(caught.value)
    assert [file.name for file in debs.iterdir()] == [known["one"].file_name]


async def test_a_download_that_is_cancelled_leaves_nothing(host, tmp_path: Path) -> None:
    host.offer("one", content=b"one")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    host.program("apt-get", f"echo started > {fifo}; exec sleep 1000")
    known = await packages.Apt(tmp_path / "apt").look_up(["one"])
    debs = tmp_path / "debs"
    task = asyncio.create_task(packages.download(list(known.values()), debs, _ignore))
    assert await asyncio.to_thread(fifo.read_text) == "started\n"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(debs.iterdir()) == []


async def test_no_apt_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingProgram, match="apt-cache is not installed"):
        await packages.Apt(tmp_path / "apt").look_up(["crun"])


async def test_other_versions_of_kept_packages_are_removed(host, tmp_path: Path) -> None:
    host.offer("one")
    (kept,) = (await packages.Apt(tmp_path / "apt").look_up(["one"])).values()
    for name in (kept.file_name, "one_1.deb", "one-more_1.deb", "notes"):
        (tmp_path / name).touch()
    packages.remove_others(tmp_path, [kept])
    assert not (tmp_path / "one_1.deb").exists()
    assert all((tmp_path / name).exists() for name in (kept.file_name, "one-more_1.deb", "notes"))


_DEBIAN = {
    "linux-image-amd64": "linux-image-6.1.0-56-amd64 (= 1)",
    "linux-image-6.1.0-56-amd64": "kmod, linux-base, libinitrd",
    "python3-minimal": "python3.11-minimal, dpkg",
}
_UBUNTU = {
    "linux-image-generic": (
        "linux-image-6.8.0-1-generic | linux-image-unsigned-6.8.0-1-generic, "
        "linux-modules-extra-6.8.0-1-generic, linux-firmware"
    ),
    "linux-image-6.8.0-1-generic": "kmod, linux-modules-6.8.0-1-generic",
    "linux-modules-6.8.0-1-generic": "",
    "linux-modules-extra-6.8.0-1-generic": "linux-modules-6.8.0-1-generic, wireless-regdb",
    "python3-minimal": "python3.11-minimal, dpkg",
}
_COMMON = {
    "busybox-static": "",
    "crun": "libc6, libyajl2",
    "libc6": "",
    "libpython3.11-minimal": "libssl3",
    "libpython3.11-stdlib": "libffi8, libreadline8, media-types",
    "libssl3": "debconf",
    "libyajl2": "",
    "python3-h2": "python3-hpack, python3-hyperframe, python3:any",
    "python3-hpack": "python3:any",
    "python3-hyperframe": "python3:any",
    "python3.11-minimal": "libexpat1, zlib1g",
    "libexpat1": "",
    "zlib1g": "",
}


@pytest.mark.parametrize(
    ("distribution", "kernels"),
    [
        (_DEBIAN, {"linux-image-6.1.0-56-amd64"}),
        (
            _UBUNTU,
            {
                "linux-image-6.8.0-1-generic",
                "linux-modules-6.8.0-1-generic",
                "linux-modules-extra-6.8.0-1-generic",
            },
        ),
    ],
)
async def test_a_distribution_gives_kernel_python_and_libraries(
    distribution: dict[str, str], kernels: set[str], host, tmp_path: Path
) -> None:
    for name, depends in {**distribution, **_COMMON}.items():
        host.offer(name, depends)
    found = await ingredients.look_up(packages.Apt(tmp_path / "apt"))
    assert found.python_version == "3.11"
    assert set(found.versions) == {*_COMMON, *kernels}


async def test_a_host_without_package_lists_is_told_to_get_them(host, tmp_path: Path) -> None:
    with pytest.raises(GuestBuildFailed, match=r"linux-image-amd64.*apt-get update"):
        await ingredients.look_up(packages.Apt(tmp_path / "apt"))
