"""Load for a console: pods that change, and a container that writes (run as a module).

Usage: python -m tests.bench.storm STATE_DIR LOG PODS CHANGES_A_SECOND BYTES_A_SECOND
Ends with its standard input; then it prints how many lines it has written.
"""

from __future__ import annotations

import itertools
import select
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

from tests.bench import mocks
from vctui.companions.monitor.logfile import LogFile
from vctui.model.events import Event, EventKind
from vctui.model.state import State
from vctui.store.sqlite import SqliteStore
from vctui.wire import crilog

TICK: Final = 0.02
_LINE: Final = "request %012d served path=/api/v1/pods/%d status=200 bytes=%d ms=%d"
_KEPT: Final = 64 * 1024 * 1024


def lines(first: int, size: int) -> tuple[bytes, int]:
    """Text of about `size` bytes; the number of the next line."""
    count = max(1, size // 120)
    text = "".join(
        _LINE % (number, number % 997, number % 8191, number % 97) + "\n"
        for number in range(first, first + count)
    )
    return text.encode(), first + count


def change(store: SqliteStore, pod_id: str) -> None:
    """What pausing and resuming a pod does to the store."""
    with store.transaction() as tx:
        record = tx.pod(pod_id)
        state = State.PAUSED if record.state is State.RUNNING else State.RUNNING
        tx.save_pod(msgspec.structs.replace(record, state=state))
        kind = EventKind.POD_PAUSED if state is State.PAUSED else EventKind.POD_RESUMED
        tx.emit(Event(kind=kind, pod_id=pod_id, message=str(state), time=record.created))


def main(words: list[str]) -> None:
    store, log = SqliteStore(Path(words[0])), LogFile(Path(words[1]), _KEPT, sys.exit)
    pods, changes, rate = int(words[2]), float(words[3]), float(words[4])
    # not those in sight of a console that has just opened: the cursor is to stay where it is put
    names = itertools.cycle([mocks.name(number) for number in range(pods // 2, pods)])
    begin, changed, written, number = time.monotonic(), 0, 0, 0
    while not select.select([sys.stdin], [], [], TICK)[0]:
        age = time.monotonic() - begin
        while changed < age * changes:
            change(store, next(names))
            changed += 1
        while written < age * rate:
            text, number = lines(number, min(64 * 1024, int(age * rate - written) + 120))
            record = crilog.encode("stdout", text, time.time_ns())
            log.write(record)
            written += len(record)
    log.close()
    store.close()
    sys.stdout.write(f"{number} {changed} {written}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
