"""Leaves out of the monitor's process what it imports but never uses.

There is a monitor for each pod, so a megabyte in one is a gigabyte on a busy host. Each entry
was measured; the test of the monitor's memory fails when one has lost its effect.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import NoReturn


def before_asyncio() -> None:
    """Before asyncio and pathlib are imported."""
    # OpenSSL is 4 MB; asyncio and hashlib both do without it
    for name in ("ssl", "_hashlib"):
        sys.modules[name] = None  # type: ignore[assignment]
    # inspect and traceback look at sources with it; ours are not here to be looked at
    _stand_in("ast", NodeVisitor=object, parse=_no_source)
    _stand_in("ipaddress")  # for URLs with numeric hosts; pathlib imports urllib


def after_asyncio() -> None:
    """Stand-ins for modules of which only the name is wanted."""
    _stand_in("ssl", SSLContext=object)  # a type in qemu.qmp's annotations
    _stand_in("platform", system=lambda: "Linux")  # uuid asks it for the system, msgspec has uuid
    sys.modules["typing_extensions"] = None  # type: ignore[assignment]  # msgspec does without


def before_grpc() -> None:
    """Before grpcio is imported, for the two names that it wants."""
    from typing import Self

    _stand_in("typing_extensions", Self=Self, override=lambda method: method)


def _no_source(*_arguments: object, **_options: object) -> NoReturn:
    raise SyntaxError("the monitor does not parse sources")


def _stand_in(name: str, **attributes: object) -> None:
    if sys.modules.get(name) is None:
        module = ModuleType(name)
        vars(module).update(attributes)
        sys.modules[name] = module
