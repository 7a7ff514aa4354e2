"""Imports without what they import in turn, where nobody uses it: a start waits for that."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import ModuleType


@contextlib.contextmanager
def without(*names: str) -> Iterator[None]:
    """In the block, these modules are not there, as far as nobody has imported them before.

    Who imports one later gets it.
    """
    with _instead(dict.fromkeys(names)):
        yield


@contextlib.contextmanager
def with_names(name: str, **attributes: object) -> Iterator[None]:
    """As `without`, for a module of which some names have to be there."""
    stand_in = ModuleType(name)
    vars(stand_in).update(attributes)
    with _instead({name: stand_in}):
        yield


@contextlib.contextmanager
def _instead(modules: dict[str, ModuleType] | dict[str, None]) -> Iterator[None]:
    mine = {name: module for name, module in modules.items() if name not in sys.modules}
    try:
        sys.modules.update(mine)  # type: ignore[arg-type]
        yield
    finally:
        for name in mine:
            del sys.modules[name]
