"""Processes that the engine adds for what they write: a copy is in test_copying, a list is here."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.engine.conftest import err, out, pod
from vctui import errors
from vctui.drivers.shims.base import Output
from vctui.engine import oneshot, ps
from vctui.engine.runtime import Runtime
from vctui.model.container import ProcessListOptions
from vctui.model.kinds import ProcessListFormat

TABLE = ProcessListOptions(format=ProcessListFormat.TABLE)
SAID = b"  PID USER     COMMAND\n    1 root     sleep 1000\n"


async def test_a_process_that_does_nothing_is_given_up(shell: Any):
    made = shell([], 0, stuck=True)
    with pytest.raises(TimeoutError):
        await oneshot.converse(made, b"abc", patience=0.05, most=100)
    assert made.got == b"abc"


async def test_a_list_is_made_by_ps_where_the_agent_has_none(
    runtime: Runtime, shell: Any, killed: list[str]
):
    await runtime.run_pod(pod())
    shell([out(SAID[:9]), err(b"a warning"), out(SAID[9:])], 0)
    assert await runtime.process_list_container("web", "main", TABLE) == SAID
    made = shell([out(SAID)], 0)
    json = ProcessListOptions(format=ProcessListFormat.JSON)
    rows = await runtime.process_list_container("web", "main", json)
    assert rows == b'[{"pid":1,"user":"root","args":"sleep 1000"}]'
    assert made.left
    assert not killed


async def test_a_ps_that_does_not_end_is_told_of_and_ended(
    runtime: Runtime, shell: Any, killed: list[str], monkeypatch: pytest.MonkeyPatch
):
    await runtime.run_pod(pod())
    made = shell([], 0, stuck=True)

    async def give_up(*_: object, **__: object) -> tuple[bytes, bytes]:
        raise TimeoutError

    monkeypatch.setattr(oneshot, "converse", give_up)
    with pytest.raises(errors.AgentError, match="cannot list the processes of container 'main'"):
        await runtime.process_list_container("web", "main", TABLE)
    assert made.left
    assert killed == ["t1"]


@pytest.mark.parametrize(
    ("said", "status", "why"),
    [
        (
            [err(b"ps: bad option\nusage")],
            1,
            "`ps` failed in container 'main': ps: bad option; try",
        ),
        ([], 3, "exit status 3"),
        ([out(SAID)], None, "`ps` did not end in container 'main': the machine went away"),
    ],
)
async def test_what_went_wrong_is_said(
    runtime: Runtime,
    shell: Any,
    killed: list[str],
    said: list[Output],
    status: int | None,
    why: str,
):
    await runtime.run_pod(pod())
    made = shell(said, status)
    with pytest.raises(errors.AgentError) as caught:
        await runtime.process_list_container("web", "main", TABLE)
    assert why in str(caught.value)
    assert made.left
    assert killed == ([] if status is not None else ["t1"])


async def test_a_list_has_an_end(
    runtime: Runtime, shell: Any, killed: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ps, "MAX_OUTPUT", 10)
    await runtime.run_pod(pod())
    shell([out(b"x" * 11), out(b"never")], 0)
    assert await runtime.process_list_container("web", "main", TABLE) == b"x" * 11
    assert killed == ["t1"]


async def test_who_asks_and_leaves_takes_the_process_along(
    runtime: Runtime, shell: Any, killed: list[str], monkeypatch: pytest.MonkeyPatch
):
    await runtime.run_pod(pod())
    made = shell([], 0, stuck=True)
    asked = asyncio.Event()

    async def close_stdin() -> None:
        asked.set()

    monkeypatch.setattr(made, "close_stdin", close_stdin)
    listing = asyncio.create_task(runtime.process_list_container("web", "main", TABLE))
    await asked.wait()
    listing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listing
    assert made.left
    assert killed == ["t1"]
