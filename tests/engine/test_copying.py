"""A copy by a process in the container: whatever comes of it is told in a sentence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.engine.conftest import pod
from vctui import errors
from vctui.drivers.agents.noop import NoopAgent
from vctui.drivers.shims.base import Attachment, Output
from vctui.engine import container, copying, streams
from vctui.engine.runtime import Runtime
from vctui.model.container import Process


class Shell(Attachment):
    """A process that says what it is to say once its input has ended."""

    def __init__(self, said: list[Output], status: int | None, *, stuck: bool = False) -> None:
        self.said, self.status, self.stuck = said, status, stuck
        self.got = bytearray()
        self.fed, self.ended, self.left = asyncio.Event(), asyncio.Event(), False

    async def __aiter__(self) -> AsyncIterator[Output]:
        await self.ended.wait()
        for one in self.said:
            yield one
        self.exit_code, self.reason = self.status, "the machine went away"

    async def write(self, data: bytes) -> None:
        self.got += data
        self.fed.set()

    async def resize(self, rows: int, columns: int) -> None:
        raise NotImplementedError

    async def close_stdin(self) -> None:
        if not self.stuck:
            self.ended.set()

    async def detach(self) -> None:
        self.left = True


class Mute(NoopAgent):
    """It has no commands for files."""

    refusal = errors.AgentError("the agent refused readfile: it gives no reason")
    killed: list[str]

    async def read_file(self, container_id: str, path: str) -> bytes:
        raise self.refusal

    async def write_file(self, container_id: str, path: str, data: bytes) -> None:
        raise errors.AgentUnsupported("no")

    async def signal(self, container_id: str, token: str, signal: int, *, all: bool) -> None:  # noqa: A002
        self.killed.append(token)


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    killed: list[str] = []
    monkeypatch.setattr(Mute, "killed", killed, raising=False)
    monkeypatch.setattr("vctui.engine.registry.agent", lambda *_: Mute())
    return killed


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, killed: list[str]) -> Any:
    def install(said: list[Output], status: int | None, *, stuck: bool = False) -> Shell:
        made = Shell(said, status, stuck=stuck)

        async def enter(*_: object) -> Process:
            return Process(token="t1", pid=1, start_time=datetime.now(UTC))

        async def attach(*_: object) -> Attachment:
            return made

        monkeypatch.setattr(container, "enter", enter)
        monkeypatch.setattr(streams, "attach", attach)
        return made

    return install


def out(data: bytes) -> Output:
    return Output(stream=1, data=data)


def err(data: bytes) -> Output:
    return Output(stream=2, data=data)


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


async def test_a_process_that_does_nothing_is_given_up_and_killed(shell: Any):
    made = shell([], 0, stuck=True)
    with pytest.raises(TimeoutError):
        await copying._converse(made, b"abc", 0.05)
    assert made.got == b"abc"


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
