"""Read a pod's logs: the serial console, the agent's log, the output of a container."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import msgspec

from vctui.engine.context import Context
from vctui.errors import InvalidConfig, NotFound
from vctui.linux import notify
from vctui.linux.files import private_dir
from vctui.model.logs import LogLine, LogSource
from vctui.wire import crilog

_BLOCK = 256 * 1024
_LONGEST_LINE = 64 * 1024
"""Bytes after which a line that does not end is given out in pieces."""
_FRAME = 1 / 20
"""Seconds between two looks of a screen, which shows no more pictures."""
_SCREENFULS = 64 * 1024
"""Bytes for one such look: some dozen screens full."""


async def read(
    ctx: Context,
    pod_id: str,
    source: LogSource,
    container_id: str = "",
    *,
    follow: bool = False,
    since: datetime | None = None,
    tail: int | None = None,
    live: bool = False,
) -> AsyncGenerator[LogLine, None]:
    """Lines from the oldest kept one on; with `follow` until the pod is deleted.

    With `live`, for a screen, followed lines that come faster than anybody reads are left out;
    the next line says how many.

    Raises:
        NotFound: there is no such pod or container.
        InvalidConfig: `since` for the serial console, whose lines carry no time.
    """
    record = ctx.store.pod(pod_id)
    folder = ctx.paths(pod_id).logs
    parse: Callable[[bytes], LogLine | None]
    match source:
        case LogSource.CONSOLE:
            if since is not None:
                raise InvalidConfig(
                    "the lines of a serial console carry no time; leave --since out or use --tail"
                )
            path, parse = folder / "console.log", _console_line
        case LogSource.AGENT:
            path, parse = folder / "agent.log", _agent_line
        case LogSource.CONTAINER:
            if not any(one.id == container_id for one in record.containers):
                raise NotFound(
                    f"pod {pod_id!r} has no container {container_id!r}; "
                    "list its containers to see the ids"
                )
            path, parse = folder / "containers" / f"{container_id}.log", crilog.parse
    joiner = _Joiner(parse, since)
    file = _LogFile(path)
    try:
        for line in file.history(tail):
            for whole in joiner.feed(line):
                yield whole
        if follow:
            private_dir(path.parent)
            async with aclosing(notify.changes(path.parent)) as rings:
                async for _ring in rings:
                    for line in file.news(_SCREENFULS if live else None):
                        if skipped := file.skipped:
                            joiner.skip(skipped)
                            file.skipped = 0
                        for whole in joiner.feed(line):
                            yield whole
                    if not path.exists() and pod_id not in ctx.store.pod_ids():
                        return
                    if live:  # what is written meanwhile rings once
                        await asyncio.sleep(_FRAME)
        for whole in joiner.rest():
            yield whole
    finally:
        file.close()


class _LogFile:
    """A log that grows, and is rotated to `NAME.1` while it is read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._half = b""
        self.skipped = 0
        """Lines that `news` has left out, until somebody sets it back."""

    def history(self, tail: int | None) -> Iterator[bytes]:
        """Complete lines that are there, the last `tail` where that is given."""
        self._open()
        old = self._path.with_name(self._path.name + ".1")
        current = self._file
        if tail is not None:
            offset = _offset_of_tail(current, tail) if current else None
            if offset is None and tail and old.exists():
                have = _count_lines(current) if current else 0
                with old.open("rb") as rotated:
                    rotated.seek(_offset_of_tail(rotated, tail - have) or 0)
                    yield from self._lines(rotated)
            elif current and offset is not None:
                current.seek(offset)
        elif old.exists():
            with old.open("rb") as rotated:
                yield from self._lines(rotated)
        if current:
            yield from self._lines(current)

    def news(self, most: int | None = None) -> Iterator[bytes]:
        """Complete lines that came since; of more than `most` bytes the last, and not what
        comes while they are read."""
        if self._file:
            yield from self._news(self._file, most)
            try:
                same = os.path.samestat(self._path.stat(), os.fstat(self._file.fileno()))
            except FileNotFoundError:
                return
            if same:
                return
            yield from self._news(self._file, most)
        self.close()
        self._open()
        if self._file:
            yield from self._news(self._file, most)

    def close(self) -> None:
        if self._file:
            self._file.close()
            self._file = None

    def _open(self) -> None:
        try:
            self._file = self._path.open("rb")
        except FileNotFoundError:
            self._file = None

    def _news(self, file: BinaryIO, most: int | None) -> Iterator[bytes]:
        if most is None:
            yield from self._lines(file)
            return
        excess = os.fstat(file.fileno()).st_size - file.tell() - most
        self._skip(file, excess)
        yield from self._lines(file, most + min(excess, 0))

    def _skip(self, file: BinaryIO, excess: int) -> None:
        """Pass over the whole lines of so many bytes."""
        while excess > 0 and (block := file.read(min(excess, _BLOCK))):
            excess -= len(block)
            ended, newline, self._half = (self._half + block).rpartition(b"\n")
            self.skipped += ended.count(b"\n") + len(newline)
            self._half = self._half[:_LONGEST_LINE]

    def _lines(self, file: BinaryIO, most: int = sys.maxsize) -> Iterator[bytes]:
        while block := file.read(min(_BLOCK, most)):
            most -= len(block)
            *lines, self._half = (self._half + block).split(b"\n")
            yield from lines
            if len(self._half) > _LONGEST_LINE:
                yield self._half
                self._half = b""


class _Joiner:
    """Parses lines, joins the parts of one, and drops those before `since`."""

    def __init__(self, parse: Callable[[bytes], LogLine | None], since: datetime | None) -> None:
        self._parse = parse
        self._since = since
        self._parts: dict[str, LogLine] = {}
        self._skipped = 0

    def skip(self, lines: int) -> None:
        """So many lines are left out here."""
        self._parts.clear()
        self._skipped += lines

    def feed(self, raw: bytes) -> Iterator[LogLine]:
        line = self._parse(raw)
        if line is None or (self._since and line.time and line.time < self._since):
            return
        if part := self._parts.pop(line.stream, None):
            line = msgspec.structs.replace(line, text=part.text + line.text, time=part.time)
        if line.partial and len(line.text) < _LONGEST_LINE:
            self._parts[line.stream] = line
        elif self._skipped:
            yield msgspec.structs.replace(line, skipped=self._skipped)
            self._skipped = 0
        else:
            yield line

    def rest(self) -> Iterator[LogLine]:
        """Lines that have not ended."""
        yield from self._parts.values()
        self._parts.clear()


def _console_line(raw: bytes) -> LogLine:
    return LogLine(text=raw.removesuffix(b"\r"))


def _agent_line(raw: bytes) -> LogLine:
    """The monitor writes the time of arrival before what the agent said."""
    first, _, rest = raw.partition(b" ")
    time = crilog.parse_time(first)
    return LogLine(text=rest, time=time) if time else LogLine(text=raw)


def _offset_of_tail(file: BinaryIO, lines: int) -> int | None:
    """Where the last `lines` complete lines begin; None where the file has fewer."""
    end = position = file.seek(0, os.SEEK_END)
    found = 0
    while position > 0:
        start = max(0, position - _BLOCK)
        file.seek(start)
        block = file.read(position - start)
        at = len(block)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            if found == lines:
                return start + at + 1
            found += 1
        position = start
    file.seek(0)
    return 0 if found == lines else (end if lines == 0 else None)


def _count_lines(file: BinaryIO) -> int:
    file.seek(0)
    count = 0
    while block := file.read(_BLOCK):
        count += block.count(b"\n")
    file.seek(0)
    return count
