"""ShimConfig (virtcontainers 1.0 API document)."""

from __future__ import annotations

import msgspec


class ShimConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """API: ShimConfig. For a shim that is a program of its own; refused for others."""

    path: str = ""
    """The shim's program."""
    debug: bool = False
    """Its log says everything."""
