"""Several processes call the API at random and are killed in the middle of it.

    python -m tests.engine.storm SEED ROUNDS FOLDER

In each round some callers work on the same pods at once. A caller is killed (SIGKILL, by itself)
at its Nth call of a function of ours, whatever that is in the middle of; others are cancelled, as
by Ctrl-C. After each round a new engine must find everything in order. It prints how many calls
were made and ends with 0, or says what was wrong and ends with 1.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import itertools
import os
import random
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from tests.engine.reference import LIVE, PODS, make, some_call
from vctui import errors
from vctui.engine.runtime import Runtime
from vctui.model.events import EventKind
from vctui.model.pod import PodStatus
from vctui.settings import Paths, Settings, Timeouts

CALLERS = 3
CALLS = 40
MOST_FUNCTIONS = 12_000
PATIENCE = 60
"""Seconds after which a caller that waits for ever says where, and ends."""
EXPECTED = (errors.NotFound, errors.AlreadyExists, errors.WrongState)


def settings_of(root: Path) -> Settings:
    return Settings(
        paths=Paths(
            run_dir=str(root / "run"), state_dir=str(root / "state"), cache_dir=str(root / "cache")
        ),
        timeouts=Timeouts(stop=1.0),
    )


def kill_at(number: int) -> None:
    """End this process when it calls its `number`th function of ours."""
    left = itertools.count(number, -1)

    def count(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and "/vctui/" in frame.f_code.co_filename and next(left) <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)


async def call_at_random(settings: Settings, rng: random.Random, report: int) -> None:
    async with Runtime(settings) as runtime:
        for _ in range(CALLS):
            call = some_call(rng)
            made = asyncio.create_task(make(runtime, call))
            if rng.random() < 0.1:
                for _ in range(rng.randint(0, 6)):
                    await asyncio.sleep(0)
                made.cancel()
            with contextlib.suppress(asyncio.CancelledError, *EXPECTED):
                await made
            os.write(report, b".")


def caller(settings: Settings, seed: str, report: int) -> int:
    """Runs in a process of its own; its exit status."""
    rng = random.Random(seed)
    if rng.random() < 0.8:
        kill_at(rng.randint(1, MOST_FUNCTIONS))
    try:
        asyncio.run(call_at_random(settings, rng, report))
    except errors.VctuiError:
        traceback.print_exc()
        return 1
    return 0


def fork(settings: Settings, seed: str, report: int) -> int:
    child = os.fork()
    if child:
        return child
    faulthandler.dump_traceback_later(PATIENCE, exit=True)
    status = 70
    try:
        status = caller(settings, seed, report)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def problems(status: PodStatus) -> Iterator[str]:
    """What the API does not know, or an engine left half done."""
    live = status.state in LIVE
    if status.operation:
        yield f"{status.operation!r} is left over"
    if live != (status.machine is not None):
        yield f"it is {status.state} and its machine is {status.machine}"
    for one in status.containers_status:
        if one.state in LIVE and one.state is not status.state:
            yield f"container {one.id} is {one.state} in a pod that is {status.state}"
        if one.state in LIVE and one.start_time is None:
            yield f"container {one.id} is {one.state} and has no process"
    if status.state == "ready" and status.start_time is not None:
        yield "it is ready and was started"


def unknown_files(settings: Settings, known: set[str]) -> list[str]:
    """Files of pods that are not there."""
    roots = (settings.run_dir / "pods", settings.run_dir / "locks", settings.state_dir / "rootfs")
    found = [path for root in roots if root.is_dir() for path in root.iterdir()]
    return [str(path) for path in found if path.name not in known]


STATE_AFTER = {
    EventKind.POD_CREATED: "ready",
    EventKind.POD_STARTED: "running",
    EventKind.POD_PAUSED: "paused",
    EventKind.POD_RESUMED: "running",
    EventKind.POD_STOPPED: "stopped",
    EventKind.MACHINE_DIED: "stopped",
    EventKind.POD_DELETED: "",
}
STATES_BEFORE = {
    EventKind.POD_CREATED: {""},
    EventKind.POD_STARTED: {"ready", "stopped"},
    EventKind.POD_PAUSED: {"running"},
    EventKind.POD_RESUMED: {"paused"},
    EventKind.POD_STOPPED: {"ready", "running", "paused"},
    EventKind.MACHINE_DIED: {"running", "paused"},
    EventKind.POD_DELETED: {"ready", "running", "paused", "stopped"},
}


def of_history(runtime: Runtime, statuses: dict[str, PodStatus]) -> Iterator[str]:
    """The event log tells of moves that the state machine has, and of the pod that is there.

    A recovery may end in any state but `paused`; what it came to is in the pod.
    """
    for name in PODS:
        states = {""}
        for event in runtime.recent_events(limit=100_000, pod_id=name):
            if event.kind is EventKind.RECOVERED:
                states = {"ready", "running", "stopped", "paused"}
            elif event.kind in STATE_AFTER:
                if not states & STATES_BEFORE[event.kind]:
                    yield f"{name}: {event.kind} (event {event.seq}) while it was {sorted(states)}"
                states = {STATE_AFTER[event.kind]}
        now = str(statuses[name].state) if name in statuses else ""
        if now not in states:
            yield f"{name}: it is {now or 'not there'}, and its events end with {sorted(states)}"


async def check(settings: Settings) -> list[str]:
    """Open a new engine, as the next operator would, and look."""
    wrong = []
    async with Runtime(settings) as runtime:
        statuses = {one.id: one for one in await runtime.list_pods()}
        for name, status in statuses.items():
            wrong += [f"{name}: {problem}" for problem in problems(status)]
        wrong += [f"{file} is of no pod" for file in unknown_files(settings, set(statuses))]
        wrong += of_history(runtime, statuses)
    return wrong


async def delete_all(settings: Settings) -> list[str]:
    async with Runtime(settings) as runtime:
        for status in await runtime.list_pods():
            await runtime.delete_pod(status.id)
        return [f"{file} is left of all" for file in unknown_files(settings, set())]


def tell(where: str, wrong: list[str]) -> int:
    sys.stdout.write("\n  ".join([f"{where}:", *wrong, ""]))
    return 1


def main(seed: int, rounds: int, root: Path) -> int:
    settings = settings_of(root)
    report = os.open(root / "report", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    killed = 0
    for number in range(rounds):
        seeds = [f"{seed}/{number}/{index}" for index in range(CALLERS)]
        children = [fork(settings, one, report) for one in seeds]
        ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        killed += ends.count(-signal.SIGKILL)
        wrong = [f"a caller ended with {end}" for end in ends if end not in {0, -signal.SIGKILL}]
        wrong += asyncio.run(check(settings))
        if wrong:
            return tell(f"seed {seed}, round {number}", wrong)
    wrong = asyncio.run(delete_all(settings))
    if wrong:
        return tell(f"seed {seed}, at the end", wrong)
    sys.stdout.write(f"{(root / 'report').stat().st_size} calls, {killed} callers killed\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
