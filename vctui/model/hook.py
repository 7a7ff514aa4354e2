"""Hook and Hooks: programs of the host that run at turns of a pod's life (behaviour sheet §8.1)."""

from __future__ import annotations

import msgspec


class Hook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """API: Hook, as the OCI runtime specification describes them.

    It gets the OCI state of the pod as JSON on its standard input.
    """

    path: str
    """Absolute path of the program; it is not looked up in PATH."""
    args: tuple[str, ...] = ()
    """The whole argument vector, the program's name first. Empty: the path alone."""
    env: tuple[str, ...] = ()
    """`NAME=value`; the whole environment. Empty: that of vctui."""
    timeout: int = 0
    """Seconds after which it is killed, which counts as a failure; 0: it has all the time."""


class Hooks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """API: Hooks. Each list runs in its order."""

    pre_start: tuple[Hook, ...] = ()
    """When the pod starts, before its machine boots; the first failure ends the start."""
    post_start: tuple[Hook, ...] = ()
    """When all containers run; failures are noted as warnings."""
    post_stop: tuple[Hook, ...] = ()
    """When machine and containers are gone; failures are noted as warnings."""
