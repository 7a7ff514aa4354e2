"""The keys that leave an attached terminal, found in what the operator types. Pure.

Spelt as docker spells them: `ctrl-p,ctrl-q`, `ctrl-],q`, `~,.`; an empty string is none.
"""

from __future__ import annotations

from typing import Final

from vctui.errors import InvalidConfig

HOLD_SECONDS: Final = 1.0
"""How long the beginning of the sequence is held back; then the caller calls `flush`."""

_CONTROLS: Final = "@abcdefghijklmnopqrstuvwxyz[\\]^_"
"""The n-th is what `ctrl` makes the byte n of."""


def parse(spec: str) -> bytes:
    """The bytes that a terminal sends for the keys of `spec`.

    Raises:
        InvalidConfig: a key is neither one character nor `ctrl-` and one of `a`-`z`, `@[\\]^_`.
    """
    return bytes(_key(name) for name in spec.split(",")) if spec else b""


def _key(name: str) -> int:
    name = name.strip()
    modifier, char = name[:5].lower(), name[5:].lower()
    if modifier == "ctrl-" and len(char) == 1 and char in _CONTROLS:
        return _CONTROLS.index(char)
    if len(name) == 1 and "!" <= name <= "~":
        return ord(name)
    raise InvalidConfig(
        f"console.detach_keys: {name!r} is no key; write keys like ctrl-p,ctrl-q or leave it empty"
    )


class DetachKeys:
    """Looks for the sequence in typed bytes, and holds back what may be its beginning."""

    def __init__(self, sequence: bytes) -> None:
        self._sequence = sequence
        self._held = b""

    @property
    def holding(self) -> bool:
        return bool(self._held)

    def feed(self, typed: bytes) -> tuple[bytes, bool]:
        """What to pass on, and whether the sequence is complete; the rest is then dropped."""
        if not self._sequence:
            return typed, False
        passed = bytearray()
        for byte in typed:
            self._held += bytes([byte])
            while not self._sequence.startswith(self._held):
                passed.append(self._held[0])
                self._held = self._held[1:]
            if self._held == self._sequence:
                self._held = b""
                return bytes(passed), True
        return bytes(passed), False

    def flush(self) -> bytes:
        """Give up waiting: what was held back."""
        held, self._held = self._held, b""
        return held
