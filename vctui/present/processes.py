"""The process list of a guest: parsing the agent's JSON, which is not trusted."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from vctui.model.container import ExecRecord
from vctui.present.humanize import plain

MAX_PROCESSES: Final = 4096
_MAX_NUMBER: Final = 2**63


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestProcess:
    """A process as the guest tells it. Numbers that it did not tell are 0, words empty."""

    pid: int
    ppid: int = 0
    user: str = ""
    state: str = ""
    cpu_ms: int = 0
    rss_kib: int = 0
    started: str = ""
    args: str = ""
    token: str = ""
    """Of the exec that started it, where there is one: it can be attached to."""


def _number(value: Any) -> int:
    fits = isinstance(value, int | float) and 0 <= value < _MAX_NUMBER
    return int(value) if fits else 0


def _words(value: Any) -> str:
    if isinstance(value, list):
        value = " ".join(str(part) for part in value[:64])
    return plain(str(value)) if value not in (None, "") else ""


def parse(data: bytes) -> tuple[GuestProcess, ...]:
    """The processes in `data`: a JSON array of objects (our agent) or of pids (Kata 1.x).

    What does not fit is left out; at most MAX_PROCESSES are returned, never an error.
    """
    try:
        rows = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ()
    if not isinstance(rows, list):
        return ()
    found: dict[int, GuestProcess] = {}
    for row in rows[:MAX_PROCESSES]:
        if not isinstance(row, dict):
            row = {"pid": row}  # noqa: PLW2901
        if pid := _number(row.get("pid")):
            found[pid] = GuestProcess(
                pid=pid,
                ppid=_number(row.get("ppid")),
                user=_words(row.get("user")),
                state=_words(row.get("state")),
                cpu_ms=_number(row.get("cpu_ms")),
                rss_kib=_number(row.get("rss_kib")),
                started=_words(row.get("started")),
                args=_words(row.get("args")),
            )
    return tuple(found.values())


def with_tokens(
    processes: Iterable[GuestProcess], execs: Iterable[ExecRecord], container_id: str
) -> tuple[GuestProcess, ...]:
    """Mark the processes that were added with exec and still run.

    The guest tells pids and the store tells tokens; the command line joins them, the oldest
    record taking the lowest pid.
    """
    waiting: dict[str, list[str]] = {}
    for record in execs:
        if record.container_id == container_id and record.exit_code is None and not record.finished:
            for text in {" ".join(record.cmd.args), shlex.join(record.cmd.args)}:
                waiting.setdefault(plain(text), []).append(record.process.token)
    taken: set[str] = set()
    marked = []
    for process in sorted(processes, key=lambda item: item.pid):
        token = next((t for t in waiting.get(process.args, ()) if t not in taken), "")
        if token:
            taken.add(token)
            process = GuestProcess(  # noqa: PLW2901
                **{name: getattr(process, name) for name in _FIELDS}, token=token
            )
        marked.append(process)
    return tuple(marked)


_FIELDS: Final = tuple(name for name in GuestProcess.__slots__ if name != "token")
