"""How fast the emulator takes output, in MB per CPU second (run as a module)."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Final

from vctui.tui.terminal.emulator import Emulator

CHUNK: Final = 4096
SECONDS: Final = 0.7


def plain_log() -> bytes:
    line = "2026-01-05T10:11:12.%06d level=info msg=request served path=/api/v1/pods/%d ms=%d\r\n"
    return "".join(line % (n * 7 % 1_000_000, n, n % 97) for n in range(4000)).encode()


def color_log() -> bytes:
    line = (
        "\x1b[2m10:11:12.%06d\x1b[0m \x1b[1;32mINFO\x1b[0m \x1b[36mhttp\x1b[0m served /pods/%d\r\n"
    )
    return "".join(line % (n * 7 % 1_000_000, n) for n in range(4000)).encode()


def full_screen() -> bytes:
    def row(frame: int, n: int) -> str:
        value = (frame * 31 + n * 7) % 100
        return (
            f"\x1b[{n + 1};1H\x1b[7m{n:5d}\x1b[m root \x1b[3{value % 8}m{value:3d}.{n % 10}%\x1b[m"
            f" {'|' * (value // 5):20s} /usr/bin/program --with={value}\x1b[K"
        )

    return "".join(row(frame, n) for frame in range(60) for n in range(24)).encode()


def wide_text() -> bytes:
    return ("日志 行 — naïve café ✓ Überprüfung 完了 ─┼─\r\n" * 4000).encode()


STREAMS: Final[dict[str, Callable[[], bytes]]] = {
    "plain log": plain_log,
    "colour log": color_log,
    "full screen": full_screen,
    "wide text": wide_text,
}


def rate(data: bytes, rows: int, columns: int) -> float:
    """MB/s of feeding `data` again and again."""
    chunks = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
    emulator = Emulator(rows, columns)
    taken, start = 0, time.process_time()
    while time.process_time() - start < SECONDS:
        for chunk in chunks:
            emulator.feed(chunk)
        taken += len(data)
    return taken / (time.process_time() - start) / 1e6


def main() -> None:
    for name, make in STREAMS.items():
        data = make()
        rates = [f"{rate(data, rows, columns):6.1f}" for rows, columns in ((24, 80), (60, 200))]
        sys.stdout.write(f"{name:12s} {rates[0]} MB/s at 80x24 {rates[1]} MB/s at 200x60\n")


if __name__ == "__main__":
    main()
