"""The host's packet filter, as far as the networks that we make leave something in it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

from vctui.linux import probe, process

PROGRAMS: Final = ("iptables", "ip6tables")
_CHAINS: Final = ("CNI-ISOLATION-STAGE-1", "CNI-ISOLATION-STAGE-2")
"""Of the CNI plugin `firewall`, which keeps a rule for each bridge that it ever saw."""
_PATIENCE: Final = 10.0
"""Seconds; another program may hold the lock of the tables."""


async def has_nat(program: str) -> bool:
    """Whether the host has `iptables` or `ip6tables`, and its kernel the table `nat`."""
    path = probe.find_program(program)
    return path is not None and await _run(path, "-t", "nat", "-S") is not None


async def forget_link(name: str) -> None:
    """Take away the rules that keep a bridge apart from others. Idempotent."""
    for program in PROGRAMS:
        path = probe.find_program(program)
        if path is None:
            continue
        for chain in _CHAINS:
            said = await _run(path, "-S", chain)
            for rule in rules_about(name, said or ""):
                await _run(path, "-D", *rule)


def rules_about(link: str, listing: str) -> list[list[str]]:
    """The rules of `iptables -S` that name `link` as the way in or out, as arguments of `-D`."""
    found = []
    for line in listing.splitlines():
        try:
            words = shlex.split(line)
        except ValueError:
            continue
        named = [words[at + 1] for at in range(len(words) - 1) if words[at] in {"-i", "-o"}]
        if words[:1] == ["-A"] and link in named:
            found.append(words[1:])
    return found


async def _run(program: Path, *arguments: str) -> str | None:
    """What it prints; None where it fails."""
    try:
        done = await process.run((program, "-w", *arguments), timeout=_PATIENCE)
    except OSError:
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None
