"""Logs are read while they grow and are rotated."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.conftest import pod
from vctui import errors
from vctui.engine import paths, ps
from vctui.engine.runtime import Runtime
from vctui.model.logs import LogLine, LogSource
from vctui.settings import Settings
from vctui.wire import crilog

NANO = 1_000_000_000


@pytest.fixture
async def log(runtime: Runtime, settings: Settings) -> Path:
    await runtime.create_pod(pod())
    file = paths.of_pod(settings, "web").logs / "containers" / "main.log"
    file.parent.mkdir(parents=True)
    return file


def records(first: int, last: int) -> bytes:
    return b"".join(
        crilog.encode("stdout", b"line %d\n" % number, number * NANO)
        for number in range(first, last + 1)
    )


async def read(runtime: Runtime, **how: object) -> list[LogLine]:
    lines = runtime.logs("web", LogSource.CONTAINER, "main", **how)
    return [line async for line in lines]


def numbers(lines: list[LogLine]) -> list[int]:
    return [int(line.text.split()[1]) for line in lines]


async def test_the_rotated_file_comes_first(runtime: Runtime, log: Path):
    log.with_name("main.log.1").write_bytes(records(1, 3))
    log.write_bytes(records(4, 5))
    assert numbers(await read(runtime)) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("tail", "seen"), [(0, []), (1, [5]), (2, [4, 5]), (4, [2, 3, 4, 5]), (9, [1, 2, 3, 4, 5])]
)
async def test_tail_reaches_into_the_rotated_file(
    runtime: Runtime, log: Path, tail: int, seen: list[int]
):
    log.with_name("main.log.1").write_bytes(records(1, 3))
    log.write_bytes(records(4, 5))
    assert numbers(await read(runtime, tail=tail)) == seen


async def test_tail_of_a_file_that_is_longer_than_a_block(runtime: Runtime, log: Path):
    log.write_bytes(records(1, 20000))
    assert numbers(await read(runtime, tail=3)) == [19998, 19999, 20000]


async def test_since_leaves_out_what_is_older(runtime: Runtime, log: Path):
    log.write_bytes(records(1, 5))
    since = datetime.fromtimestamp(4, UTC)
    assert numbers(await read(runtime, since=since)) == [4, 5]


async def test_parts_of_a_line_are_joined_for_each_stream(runtime: Runtime, log: Path):
    log.write_bytes(
        crilog.encode("stdout", b"one ", NANO)
        + crilog.encode("stderr", b"other\n", NANO)
        + crilog.encode("stdout", b"line\nopen", 2 * NANO)
    )
    assert [(line.stream, line.text) for line in await read(runtime)] == [
        ("stderr", b"other"),
        ("stdout", b"one line"),
        ("stdout", b"open"),
    ]


async def test_following_goes_on_over_a_rotation_until_the_pod_is_deleted(
    runtime: Runtime, log: Path
):
    log.write_bytes(records(1, 2))
    seen: list[int] = []
    more = asyncio.Event()

    async def follow() -> None:
        async for line in runtime.logs("web", LogSource.CONTAINER, "main", follow=True):
            seen.extend(numbers([line]))
            more.set()

    async def wait_for(last: int) -> None:
        async with asyncio.timeout(10):
            while last not in seen:
                more.clear()
                await more.wait()

    follower = asyncio.create_task(follow())
    await wait_for(2)
    with log.open("ab") as file:
        file.write(records(3, 3))
    await wait_for(3)
    log.replace(log.with_name("main.log.1"))
    log.write_bytes(records(4, 5))
    await wait_for(5)
    await runtime.delete_pod("web")
    async with asyncio.timeout(10):
        await follower
    assert seen == [1, 2, 3, 4, 5]


async def test_what_cannot_be_read_is_said(runtime: Runtime, log: Path):
    with pytest.raises(errors.NotFound, match="no container 'nobody'"):
        await anext(runtime.logs("web", LogSource.CONTAINER, "nobody"))
    with pytest.raises(errors.NotFound, match="no pod 'nobody'"):
        await anext(runtime.logs("nobody", LogSource.AGENT))
    with pytest.raises(errors.InvalidConfig, match="carry no time"):
        await anext(runtime.logs("web", LogSource.CONSOLE, since=datetime.now(UTC)))


async def test_a_log_that_does_not_exist_yet_is_empty(runtime: Runtime, log: Path):
    assert await read(runtime) == []


def test_a_ps_table_becomes_rows():
    text = "PID   USER     COMMAND\n    1 root     sleep 100\n   22 root     sh -c 'a  b'\n"
    assert ps.parse_table(text) == [
        {"pid": 1, "user": "root", "args": "sleep 100"},
        {"pid": 22, "user": "root", "args": "sh -c 'a  b'"},
    ]


@given(st.text())
def test_any_table_of_a_guest_is_survived(text: str):
    assert all(isinstance(row["pid"], int) for row in ps.parse_table(text))


async def test_a_screen_gets_the_newest_of_a_flood_and_the_number_of_the_others(
    runtime: Runtime, log: Path
):
    log.write_bytes(records(1, 3))
    seen: list[LogLine] = []
    flood = 50_000
    following = runtime.logs("web", LogSource.CONTAINER, "main", follow=True, live=True)
    async with asyncio.timeout(10):
        seen += [await anext(following) for _ in range(3)]
        asked = asyncio.ensure_future(anext(following))
        await asyncio.sleep(0)  # until it waits for more than there is
        with log.open("ab") as file:  # and half a line more
            file.write(records(4, flood) + records(flood + 1, flood + 1)[:20])
        seen.append(await asked)
        while numbers(seen[-1:]) != [flood]:
            seen.append(await anext(following))
        with log.open("ab") as file:
            file.write(records(flood + 1, flood + 1)[20:])
        seen.append(await anext(following))
    await following.aclose()
    shown = seen[3:]
    assert 100 < len(shown) < 3000
    assert numbers(shown) == list(range(flood + 2 - len(shown), flood + 2))
    assert [line.skipped for line in shown] == [flood - 2 - len(shown), *[0] * (len(shown) - 1)]


async def test_a_program_that_follows_gets_all_of_a_flood(runtime: Runtime, log: Path):
    log.write_bytes(records(1, 1))
    seen: list[LogLine] = []
    async with asyncio.timeout(10):
        async for line in runtime.logs("web", LogSource.CONTAINER, "main", follow=True):
            seen.append(line)
            if len(seen) == 1:
                with log.open("ab") as file:
                    file.write(records(2, 20_000))
            if len(seen) == 20_000:
                break
    assert numbers(seen) == list(range(1, 20_001))
