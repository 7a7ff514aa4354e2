"""What a guest that does not answer has said on its console, and what that may mean. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from vctui.companions.monitor.lines import clean

LINES: Final = 1000
"""Of the console that are worth a look: a kernel says much after what went wrong first."""
_SHOWN: Final = 3
_LINE: Final = 300
"""Bytes of a line that are looked at; a guest may write lines of any length."""
_PANIC: Final = "Kernel panic"
_NO_MEMORY: Final = re.compile(
    r"Initramfs unpacking failed|deadlocked on memory|invoked oom-killer|Out of memory"
)
_NO_INIT: Final = re.compile(
    r"Unable to mount root fs|No working init found|Requested init .* failed|Failed to execute"
)
_SYSTEMD: Final = re.compile(r"\bsystemd\[1\]: |Reached target ")


def told(console: Sequence[bytes], *, memory: int) -> list[str]:
    """Sentences for below the error.

    Args:
        console: its last LINES lines.
        memory: MiB that the machine had.
    """
    lines = [text for line in console if (text := clean(line[:_LINE]).strip())]
    if not lines:
        see = f"the kernel is one for such a machine and {memory} MiB of memory are enough for it"
        return [f"the console stayed empty; see that {see}"]
    panic = next((at for at, line in enumerate(lines) if _PANIC in line), len(lines))
    before = lines[:panic] or lines  # behind it are registers and addresses
    said = " / ".join(before[-_SHOWN:])
    where = "before the panic the console said" if panic < len(lines) else "the console ended with"
    return [f"{where}: {said}", *_advice("\n".join(lines), memory)]


def _advice(text: str, memory: int) -> list[str]:
    if _NO_MEMORY.search(text):
        return [f"{memory} MiB of memory seem to be too little for this guest; give the pod more"]
    if _NO_INIT.search(text):
        why = "an initrd needs an executable /init, and a machine with room for all that is in it"
        return [f"the kernel found no program to start: {why}"]
    if _SYSTEMD.search(text):
        unit = "an image of Kata's starts its agent with systemd.unit=kata-containers.target"
        return [f"the guest runs systemd; {unit} among its kernel parameters"]
    return []
