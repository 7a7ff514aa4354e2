"""The lifecycle engine: the virtcontainers 1.0 API over real virtual machines.

Its modules are loaded when they are first used, as most commands need few of them.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vctui.engine import container as container
    from vctui.engine import copying as copying
    from vctui.engine import interfaces as interfaces
    from vctui.engine import pod as pod
    from vctui.engine import ps as ps


def __getattr__(name: str) -> ModuleType:
    if name.startswith("_"):
        raise AttributeError(name)
    return importlib.import_module(f"vctui.engine.{name}")
