"""The findings of `vctui doctor`."""

from __future__ import annotations

import msgspec


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that the product needs, or profits from, on this host."""

    name: str
    ok: bool | None
    """None is a warning: pods run without it, but slower or with less."""
    detail: str
    """What was found."""
    remedy: str = ""
    """What to do about it; "" where nothing needs doing."""
