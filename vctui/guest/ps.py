"""Pure: ListProcesses, as JSON or as the table of ps(1): `-ef`, `aux`, `-o LIST`."""

from __future__ import annotations

import time

from vctui.errors import AgentError
from vctui.guest.document import dumps
from vctui.wire import ttrpc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from vctui.guest.procfs import Entry


class Host:
    """What columns need to know beyond a process: the time, memory, the users' names."""

    def __init__(self, *, now: float, memory: int, users: Mapping[int, str]) -> None:
        self.now = now
        self.memory = memory
        """KiB."""
        self._users = users

    def user(self, uid: int) -> str:
        return self._users.get(uid, str(uid))


def listing(found: Sequence[Entry], host: Host) -> bytes:
    """JSON: an array of objects."""
    return dumps(
        [
            {
                "pid": entry.pid,
                "ppid": entry.ppid,
                "guest_pid": entry.guest_pid,
                "user": host.user(entry.uid),
                "state": entry.state,
                "cpu_ms": round(entry.cpu * 1000),
                "rss_kib": entry.rss,
                "started": round(entry.started),
                "args": entry.args,
            }
            for entry in found
        ]
    ).encode(errors="replace")


def table(found: Sequence[Entry], host: Host, args: Sequence[str]) -> bytes:
    """A heading and a row for each process.

    Raises:
        AgentError: naming an argument that is not understood.
    """
    columns = parse(args)
    rows = [[heading for _, heading in columns]]
    rows += [[_printable(COLUMNS[key][1](entry, host)) for key, _ in columns] for entry in found]
    if not any(rows[0]):
        rows = rows[1:]
    widths = [max((len(row[at]) for row in rows), default=0) for at in range(len(columns))]
    lines = []
    for row in rows:
        cells = [
            text.rjust(width) if COLUMNS[key][2] else text.ljust(width)
            for text, width, (key, _) in zip(row, widths, columns, strict=True)
        ]
        lines.append(" ".join(cells).rstrip())
    return ("\n".join(lines) + "\n").encode(errors="replace") if lines else b""


def parse(args: Sequence[str]) -> list[tuple[str, str]]:
    """ps arguments → column keys and their headings.

    Raises:
        AgentError: naming an argument that is not understood.
    """
    chosen: list[tuple[str, str]] = []
    layout: tuple[str, ...] = FULL
    waiting = list(args)
    while waiting:
        arg = waiting.pop(0)
        flags, wants_list, text = (
            arg.partition("o") if arg.startswith(("-", "o")) else (arg, "", "")
        )
        if arg.startswith("--format"):
            flags, wants_list, text = "-", "o", arg.removeprefix("--format").removeprefix("=")
        letters = set(flags.removeprefix("-"))
        if wants_list and letters <= _FLAGS:
            chosen += _list(text or (waiting.pop(0) if waiting else ""))
        elif flags.startswith("-") and letters and letters <= _FLAGS:
            layout = LONG if "l" in letters else FULL if letters & {"f", "F"} else PLAIN
        elif letters and letters <= _BSD_FLAGS and not wants_list:
            layout = USER if "u" in letters else PLAIN
        else:
            raise _unknown(arg)
    if chosen:
        return chosen
    return [(key, COLUMNS[key][0]) for key in layout]


def _list(text: str) -> list[tuple[str, str]]:
    """`pid,args` or `pid=HEADING`, whose heading takes the rest, commas and all."""
    found = []
    while text:
        comma, equals = text.find(","), text.find("=")
        if equals >= 0 and (comma < 0 or equals < comma):
            key, heading, text = text[:equals], text[equals + 1 :], ""
            if heading.startswith(","):  # `pid=,args`: an empty heading, then further columns
                heading, text = "", heading[1:]
        else:
            key, _, text = text.partition(",")
            heading = COLUMNS.get(_alias(key), ("",))[0]
        key = _alias(key.strip())
        if key not in COLUMNS:
            raise _unknown(key)
        found.append((key, heading))
    if not found:
        raise _unknown("-o without a list of columns")
    return found


def _unknown(arg: str) -> AgentError:
    return AgentError(
        f"ps: {arg!r} is not understood; use -ef, aux or -o with "
        f"{', '.join(key for key in COLUMNS if key not in _SAME)}",
        code=ttrpc.INVALID_ARGUMENT,
    )


def _alias(key: str) -> str:
    return _ALIASES.get(key, key)


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


def _clock(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return (
        f"{days}-{hour:02}:{minute:02}:{second:02}"
        if days
        else f"{hour:02}:{minute:02}:{second:02}"
    )


def _elapsed(entry: Entry, host: Host) -> str:
    text = _clock(max(0.0, host.now - entry.started))
    return text.removeprefix("00:")


def _start(entry: Entry, host: Host) -> str:
    recent = host.now - entry.started < 24 * 3600
    return time.strftime("%H:%M" if recent else "%b%d", time.gmtime(entry.started))


def _percent_cpu(entry: Entry, host: Host) -> float:
    return 100 * entry.cpu / max(host.now - entry.started, 0.01)


def _terminal(entry: Entry, _: Host) -> str:
    major, minor = entry.tty >> 8 & 0xFFF, entry.tty & 0xFF | entry.tty >> 12 & 0xFFF00
    return f"pts/{(major - 136) * 256 + minor}" if 136 <= major <= 143 else "?"


def _short_time(entry: Entry, _: Host) -> str:
    return f"{int(entry.cpu) // 60}:{int(entry.cpu) % 60:02}"


# key → heading, text of a process, whether it is a number (to the right)
COLUMNS: dict[str, tuple[str, Callable[[Entry, Host], str], bool]] = {
    "pid": ("PID", lambda entry, _: str(entry.pid), True),
    "ppid": ("PPID", lambda entry, _: str(entry.ppid), True),
    "pgid": ("PGID", lambda entry, _: str(entry.pgid), True),
    "sid": ("SID", lambda entry, _: str(entry.session), True),
    "user": ("USER", lambda entry, host: host.user(entry.uid), False),
    "uid": ("UID", lambda entry, _: str(entry.uid), True),
    "gid": ("GID", lambda entry, _: str(entry.gid), True),
    "stat": ("STAT", lambda entry, _: entry.state, False),
    "tty": ("TTY", _terminal, False),
    "time": ("TIME", lambda entry, _: _clock(entry.cpu), True),
    "stime": ("STIME", _start, False),
    "etime": ("ELAPSED", _elapsed, True),
    "pcpu": ("%CPU", lambda entry, host: f"{_percent_cpu(entry, host):.1f}", True),
    "pmem": ("%MEM", lambda entry, host: f"{100 * entry.rss / max(host.memory, 1):.1f}", True),
    "c": ("C", lambda entry, host: str(min(99, int(_percent_cpu(entry, host)))), True),
    "rss": ("RSS", lambda entry, _: str(entry.rss), True),
    "vsz": ("VSZ", lambda entry, _: str(entry.vsz), True),
    "ni": ("NI", lambda entry, _: str(entry.nice), True),
    "nlwp": ("NLWP", lambda entry, _: str(entry.threads), True),
    "comm": ("COMMAND", lambda entry, _: entry.name, False),
    "args": ("COMMAND", lambda entry, _: entry.args, False),
    # the names that -ef and aux give to the same things
    "owner": ("UID", lambda entry, host: host.user(entry.uid), False),
    "start": ("START", _start, False),
    "cputime": ("TIME", _short_time, True),
    "cmd": ("CMD", lambda entry, _: entry.args, False),
    "name": ("CMD", lambda entry, _: entry.name, False),
}
_SAME = ("owner", "start", "cputime", "cmd", "name")
_FLAGS, _BSD_FLAGS = set("eAfFlw"), set("auxw")
_ALIASES = {
    "command": "args",
    "cmd": "args",
    "ucmd": "comm",
    "tt": "tty",
    "tname": "tty",
    "state": "stat",
    "s": "stat",
    "%cpu": "pcpu",
    "%mem": "pmem",
    "rssize": "rss",
    "vsize": "vsz",
    "nice": "ni",
    "thcount": "nlwp",
    "pgrp": "pgid",
    "sess": "sid",
    "session": "sid",
    "euser": "user",
    "uname": "user",
    "euid": "uid",
    "egid": "gid",
    "start_time": "stime",
    "bsdtime": "time",
}
PLAIN = ("pid", "tty", "time", "name")
FULL = ("owner", "pid", "ppid", "c", "stime", "tty", "time", "cmd")
LONG = ("stat", "uid", "pid", "ppid", "ni", "vsz", "tty", "time", "cmd")
USER = (
    "user",
    "pid",
    "pcpu",
    "pmem",
    "vsz",
    "rss",
    "tty",
    "stat",
    "start",
    "cputime",
    "args",
)
