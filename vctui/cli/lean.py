"""Imports without what they import in turn, where no command uses it: a start waits for that."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def without(*names: str) -> Iterator[None]:
    """In the block, these modules are not there, as far as nobody has imported them before.

    Who imports one later gets it.
    """
    hidden = [name for name in names if name not in sys.modules]
    try:
        for name in hidden:
            sys.modules[name] = None  # type: ignore[assignment]
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
