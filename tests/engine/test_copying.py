"""A copy by a process in the container: whatever comes of it is told in a sentence."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.engine.conftest import err, out, pod
from vctui import errors
from vctui.drivers.shims.base import Output
from vctui.engine import copying
from vctui.engine.runtime import Runtime


async def test_what_the_process_writes_is_the_file(runtime: Runtime, shell: Any, killed: Any):
    await runtime.run_pod(pod())
    made = shell([out(b"ab"), out(b"c")], 0)
    assert await runtime.read_file("web", "main", "/x") == b"abc"
    assert made.left
    made = shell([out(b"200000\n")], 0)
    await runtime.write_file("web", "main", "/x", b"z" * 200000)
    assert made.got == b"z" * 200000
    assert not killed


@pytest.mark.parametrize(
    ("said", "status", "why"),
    [
        ([out(b"7\n")], 0, "of 3 bytes 7 are in it"),
        ([out(b"\x1b[2J")], 0, "nobody knows how many"),
        ([], 0, "nobody knows how many"),
        ([err(b"sh: can't create /x: Permission denied\nmore")], 1, "'main': Permission denied; g"),
        ([err(b"x" * 9000)], 2, "x" * 200 + "; give"),
        ([], 9, "exit status 9"),
        ([err(b"sh: cat: not found")], 127, "lacks the programs"),
        ([out(b"3\n")], None, "the machine went away"),
    ],
)
async def test_what_went_wrong_is_said(
    runtime: Runtime, shell: Any, killed: Any, said: list[Output], status: int | None, why: str
):
    await runtime.run_pod(pod())
    made = shell(said, status)
    with pytest.raises(errors.AgentError, match=r"cannot write '/x' in container 'main'") as caught:
        await runtime.write_file("web", "main", "/x", b"abc")
    assert why in str(caught.value)
    assert made.left
    assert killed == ([] if status is not None else ["t1"])


async def test_an_agents_own_refusal_is_told_where_there_is_no_shell(runtime: Runtime, shell: Any):
    await runtime.run_pod(pod())
    shell([], 127)
    with pytest.raises(errors.AgentError, match="refused readfile"):
        await runtime.read_file("web", "main", "/x")


async def test_a_process_looks_after_a_file_that_is_empty_to_the_agent(
    runtime: Runtime, shell: Any, monkeypatch: pytest.MonkeyPatch
):
    """As hyperstart has it of those of /proc; without a shell it is believed."""
    from vctui.drivers.agents.noop import NoopAgent

    class Blind(NoopAgent):
        async def read_file(self, container_id: str, path: str) -> bytes:
            return b""

    monkeypatch.setattr("vctui.engine.registry.agent", lambda *_: Blind())
    await runtime.run_pod(pod())
    shell([out(b"Linux")], 0)
    assert await runtime.read_file("web", "main", "/proc/version") == b"Linux"
    shell([], 127)
    assert await runtime.read_file("web", "main", "/empty") == b""


async def test_more_than_is_copied_ends_the_process(
    runtime: Runtime, shell: Any, killed: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(copying, "MAX_FILE", 1024**2)
    await runtime.run_pod(pod())
    made = shell([out(bytes(1024**2 - 1)), out(b"ab"), out(b"never")], 0)
    with pytest.raises(errors.InvalidInput, match="longer than 1 MiB"):
        await runtime.read_file("web", "main", "/x")
    assert made.left
    assert killed == ["t1"]
    with pytest.raises(errors.InvalidInput, match="longer than 1 MiB"):
        await runtime.write_file("web", "main", "/x", bytes(1024**2 + 1))


async def test_a_caller_that_leaves_takes_the_process_along(
    runtime: Runtime, shell: Any, killed: Any
):
    await runtime.run_pod(pod())
    made = shell([], 0, stuck=True)
    copy = asyncio.create_task(runtime.write_file("web", "main", "/x", b"abc"))
    await made.fed.wait()
    copy.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copy
    assert made.left
    assert killed == ["t1"]
