"""Promises of watches: one yield at once, then one after each change, coalesced; none lost."""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing

import pytest

from vctui.linux import notify


async def rings(changes) -> bool:
    async with asyncio.timeout(10):
        return await anext(changes, "end") is None


async def test_a_file_that_is_made_written_touched_and_replaced(tmp_path):
    path = tmp_path / "file"
    async with aclosing(notify.changes(path)) as changes:
        assert await rings(changes)
        path.write_bytes(b"x")
        assert await rings(changes)
        os.utime(path)
        assert await rings(changes)
        path.rename(tmp_path / "file.1")
        assert await rings(changes)
        path.write_bytes(b"y")
        assert await rings(changes)


async def test_other_files_of_the_folder_do_not_count(tmp_path):
    path = tmp_path / "file"
    async with aclosing(notify.changes(path)) as changes:
        assert await rings(changes)
        (tmp_path / "other").touch()
        waiter = asyncio.create_task(anext(changes))
        await asyncio.wait({waiter}, timeout=0.1)
        assert not waiter.done()
        path.touch()
        await asyncio.wait_for(waiter, 10)


async def test_many_changes_come_as_few(tmp_path):
    async with aclosing(notify.changes(tmp_path)) as changes:
        assert await rings(changes)
        for number in range(500):
            (tmp_path / f"file{number}").touch()
        assert await rings(changes)
        count = 1
        while count < 50:
            try:
                async with asyncio.timeout(0.2):
                    await anext(changes)
            except (TimeoutError, StopAsyncIteration):
                break
            count += 1
        assert count < 50


async def test_it_ends_when_the_folder_is_removed(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    async with aclosing(notify.changes(folder)) as changes:
        assert await rings(changes)
        folder.rmdir()
        while await rings(changes):
            pass


async def test_a_folder_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        await anext(notify.changes(tmp_path / "nowhere/file"))
