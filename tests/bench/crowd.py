"""A console with a thousand pods of which fifty change each second, beside a log of 20 MB/s."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.bench import mocks, terminal
from tests.bench.figures import Figure
from tests.bench.host import ROOT, Bench, cpu, cpu_exactly, rss_mb, yardstick
from tests.bench.terminal import Terminal

CHANGES: Final = 50
RATE: Final = 20_000_000
_ROUGH: Final = 1.0
"""Tolerance: a key comes sooner or later after the last picture was painted."""
_LUCK: Final = 9.0
"""The same under load: what else the console does just then counts with it."""
_UNDER_LOAD: Final = 5
"""So many more keys, as the largest sample counts."""

_DOWN: Final = b"\x1b[B"
_HOME: Final = b"\x1b[H"
_PAGE_DOWN: Final = b"\x1b[6~"
_ESC: Final = b"\x1b"
_CLICK: Final = b"\x1b[<0;10;9M\x1b[<0;10;9m"
"""On a pod."""
_WHEEL: Final = b"\x1b[<65;90;9M"
"""Over the log."""
_DRAG: Final = b"\x1b[<0;90;9M\x1b[<32;99;12M\x1b[<0;99;12m"
"""Selects a piece of the log."""

TOUR: Final[tuple[bytes | tuple[int, int], ...]] = (
    *(b"G", b"g", _PAGE_DOWN, b"g", b"/", b"0", b"5", b"\r", _ESC),  # the list, filtered
    *(b"o", _DOWN, b"\r", b"o", _HOME, b"\r"),  # sorted, and as listed
    *(b"?", _ESC, b":", b"s", b"t", b"o", _ESC),  # help, palette
    *(b"4", b"5", b"6", b"7", b"1", b"2", b"3", b"z", b"z"),  # tabs, one pane alone
    *(b"\t", b"\t", b"\t", b"w", b"w", b"T", b"T", b"/", b"9", b"\r", b"n", b"N", b"/", _ESC),
    *(b"f", b"f", b"\t"),  # the log: wrapped, with times, searched, still and followed again
    *(b" ", b"A", b"v", _ESC, b"g"),  # marks
    *(b"t", _DOWN, _DOWN, _ESC),  # other colours
    *((24, 80), (60, 200), (terminal.ROWS, terminal.COLUMNS)),  # a window of another size
    *(_CLICK, _WHEEL, _WHEEL, _DRAG, b"g", b"f", b"f"),  # the mouse
    *(b"F", _ESC, b"e", b"l", b"s", _ESC, b"K", _DOWN, _ESC, b"R", _DOWN, _ESC, _ESC, b"g", b"3"),
)
"""Keys that show every tab and dialog, but what could begin something, and lead back to where they
began. Rows and columns make the window another size."""


async def figures(bench: Bench) -> list[Figure]:
    mocks.fill(bench.settings, bench.crowd)
    log = bench.settings.run_dir / "pods" / mocks.name(0) / "logs" / "containers" / "main.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    meter = bench.settings.run_dir / "meter.json"
    yards = [yardstick() for _ in range(bench.runs)]
    with terminal.opened(bench, meter) as console:
        console.until(lambda: console.selected == mocks.name(0), "pod under the cursor")
        calm, calm_costs = _keys(bench, console, bench.runs * 2)
        console.press(b"3")
        console.until(lambda: "Log" in console.text, "log")
        with subprocess.Popen(
            (
                *(sys.executable, "-m", "tests.bench.storm", str(bench.settings.state_dir)),
                *(str(log), str(bench.crowd), str(CHANGES), str(RATE)),
            ),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as storm:
            console.until(lambda: "request" in console.text, "line of the log")
            console.idle(bench.between * 5)
            loaded, loaded_costs = _keys(bench, console, bench.runs * 2 * _UNDER_LOAD)
            before, begin = cpu(console.pid), time.perf_counter()
            console.idle(bench.between * 10)
            busy = (cpu(console.pid) - before) / (time.perf_counter() - begin)
            memory = rss_mb(console.pid)
            pressed = [_tour(bench, console) for _ in range((bench.runs + 1) // 2)]
            used = rss_mb(console.pid)
            said, _ = storm.communicate(b"\n")
    lines, changed, _ = map(int, said.split())
    if not changed:
        raise RuntimeError("the storm did nothing")
    _count_lines(log, lines)
    held, held_costs = _held(meter, pressed)
    return [
        _latency("key", f"a key, {bench.crowd} pods at rest", calm, calm_costs, yards, _ROUGH),
        _latency(
            "key-under-load",
            f"a key, {bench.crowd} pods, {CHANGES} changes/s, log of {RATE // 10**6} MB/s",
            loaded,
            loaded_costs,
            yards,
            _LUCK,
        ),
        _latency(
            "loop-held",
            "that console, longest stretch without a look at its keys",
            held,
            held_costs,
            yards,
            _ROUGH,
        ),
        Figure(
            key="console-busy",
            name="that console, processors it keeps busy",
            samples=[busy],
            unit="",
            reach=1.0,
            costs=[busy],
            tolerance=_ROUGH,
        ),
        _memory("console-memory", "that console, memory (RSS)", memory),
        _memory("console-memory-used", "the same after everything was shown again and again", used),
    ]


def _memory(key: str, name: str, sample: float) -> Figure:
    return Figure(key=key, name=name, samples=[sample], unit="MB", reach=150, costs=[sample / 150])


def _latency(
    key: str, name: str, samples: list[float], cost: float, yards: list[float], tolerance: float
) -> Figure:
    return Figure(
        key=key,
        name=name,
        samples=samples,
        unit="ms",
        reach=50,
        costs=[cost],
        yards=yards,
        tolerance=tolerance,
        each=True,
    )


def _keys(bench: Bench, console: Terminal, pairs: int) -> tuple[list[float], float]:
    """Milliseconds from a key to the cursor on the next pod, down and at once up again: so the
    log of the first one is still followed. And the least processor time that one took."""
    samples, used = [], []
    for _ in range(pairs):
        console.idle(bench.between)
        for key, wanted in ((b"j", mocks.name(1)), (b"k", mocks.name(0))):
            before, begin = cpu_exactly(console.pid), time.perf_counter()
            console.press(key)
            samples.append((console.until(_selects(console, wanted), wanted) - begin) * 1000)
            used.append(cpu_exactly(console.pid) - before)
    return samples, min(used)


def _selects(console: Terminal, wanted: str) -> Callable[[], bool]:
    return lambda: console.selected == wanted


def _tour(bench: Bench, console: Terminal) -> list[float]:
    """When each key was pressed, and the end."""
    times = []
    for key in TOUR:
        times.append(time.perf_counter())
        if isinstance(key, tuple):
            console.resize(*key)
        else:
            console.press(key)
        console.idle(bench.between)
    return [*times, time.perf_counter()]


def _held(meter: Path, tours: list[list[float]]) -> tuple[list[float], float]:
    """The longest stretch after each key, in milliseconds. And processor seconds of that key's
    which takes most: of each key the least that it took in any of the tours."""
    stretches = json.loads(meter.read_text())
    longest: list[float] = []
    costs: list[list[float]] = [[] for _ in TOUR]
    for times in tours:
        for key, (begin, end) in enumerate(itertools.pairwise(times)):
            of_key = [(wall, used) for at, wall, used in stretches if begin <= at < end]
            longest.append(1000 * max((wall for wall, _ in of_key), default=0.001))
            costs[key].append(max((used for _, used in of_key), default=0.001))
    return longest, max(map(min, costs))


def _count_lines(log: Path, count: int) -> None:
    """Raises RuntimeError where the files of the log lack one of its newest lines."""
    old = log.with_name(log.name + ".1")
    text = (old.read_bytes() if old.exists() else b"") + log.read_bytes()
    numbers = [int(number) for number in re.findall(rb"request (\d{12})", text)]
    if numbers != list(range(count - len(numbers), count)):
        raise RuntimeError(f"of {count} lines some are not in the log")
