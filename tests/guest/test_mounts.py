"""The mount that waits in a saved guest, with a program in busybox's place.

In a process of their own, as the agent reaps every child that it has.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_BUSYBOX = """\
#!/bin/sh
echo "$*" >>{folder}/said
case "$*" in
    *" -a -T "*) read line <"$5" && echo "table: $line" >>{folder}/said ;;
esac
{then}
"""
_AGENT = """
import json, sys
from vctui.errors import AgentError
from vctui.guest.children import Children
from vctui.guest.config import Config
from vctui.guest.loop import Loop
from vctui.guest.mounts import Mounts
from vctui.wire.pb import agent_pb2

folder, storages = sys.argv[1], json.loads(sys.argv[2])
raised = []
loop = Loop(raised.append)
config = Config(run=f"{folder}/run", busybox=f"{folder}/busybox")
mounts = Mounts(loop, Children(loop), config)
waits = mounts.prepare()
async def work():
    while not waits():
        await loop.sleep(0.005)
    for storage in storages:
        try:
            await mounts.add([agent_pb2.Storage(**storage)])
        except AgentError as error:
            print(error)
loop.run_until(loop.start(work()))
assert not raised, raised
"""


def _run(folder: Path, *storages: dict[str, Any], then: str) -> tuple[list[str], str]:
    """What busybox was told, and what the agent answers."""
    busybox = folder / "busybox"
    busybox.write_text(_BUSYBOX.format(folder=folder, then=then))
    busybox.chmod(0o755)
    argv = [sys.executable, "-c", _AGENT, str(folder), json.dumps(storages)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    return (folder / "said").read_text().splitlines(), done.stdout


def _share(point: Path, **changes: Any) -> dict[str, Any]:
    storage = {"driver": "9p", "source": "kataShared", "mount_point": str(point)}
    return {**storage, "options": ["trans=virtio", "ro"], **changes}


def test_a_mount_that_does_not_come_is_made_in_the_ordinary_way(tmp_path: Path) -> None:
    point = tmp_path / "shared"
    said, answered = _run(tmp_path, _share(point), _share(tmp_path / "other"), then="exit 0")
    words = "mount -i -t 9p -o trans=virtio,ro kataShared"
    assert said == [
        f"mount -i -a -T {tmp_path}/run/fstab",
        f"table: kataShared {point} 9p trans=virtio,ro",
        f"{words} {point}",
        f"{words} {tmp_path}/other",
    ]
    assert answered == ""
    assert not (tmp_path / "run" / "fstab").exists()


@pytest.mark.parametrize("source", ["a name", "a#name", "a\\name", "a\nname"])
def test_what_no_table_can_say_is_mounted_in_the_ordinary_way(tmp_path: Path, source: str) -> None:
    said, _ = _run(tmp_path, _share(tmp_path / "shared", source=source), then="exit 0")
    assert not any(line.startswith("table:") for line in said)
    assert said[1].startswith("mount -i -t 9p ")


def test_the_ordinary_way_says_what_failed(tmp_path: Path) -> None:
    storage = _share(tmp_path / "shared", driver="ephemeral", source="tmpfs", options=[])
    said, answered = _run(tmp_path, storage, then='echo "no such device" >&2; exit 1')
    assert said[1:] == [
        f"table: tmpfs {tmp_path}/shared tmpfs defaults",
        f"mount -i -t tmpfs tmpfs {tmp_path}/shared",
    ]
    assert answered == "storage tmpfs (ephemeral): no such device\n"


@pytest.mark.root
def test_what_the_program_that_waited_has_mounted_is_not_mounted_again(tmp_path: Path) -> None:
    point = tmp_path / "shared"
    storage = _share(point, driver="ephemeral", source="tmpfs", options=["size=64k"])
    try:
        mounts = f'case "$*" in *" -a "*) mount -t tmpfs tmpfs {point} ;; *) exit 1 ;; esac'
        said, answered = _run(tmp_path, storage, then=mounts)
    finally:
        subprocess.run(["umount", str(point)], check=True)
    assert said[1:] == [f"table: tmpfs {point} tmpfs size=64k"]
    assert answered == ""
