"""What a legal pod, container or process id is.

Kubernetes names pods as DNS labels and OCI allows `[A-Za-z0-9_.-]`;
the Kata agent wants an alphanumeric first character and at least two characters.
What is accepted here satisfies the agent and is safe as one path component.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Final

from vctui.errors import AmbiguousId, InvalidId, NotFound

MAX_LENGTH: Final = 63
_LEGAL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{1,62}\Z")


def check(what: str, value: str) -> str:
    """Return `value` if it is a legal id of `what` ("pod", "container").

    Raises:
        InvalidId: with the rule in words.
    """
    if not _LEGAL.match(value):
        raise InvalidId(
            f"{value!r} is not a legal {what} id: use 2 to {MAX_LENGTH} letters, digits, '.', '_' "
            "or '-', beginning with a letter or digit"
        )
    return value


def new_token() -> str:
    """A fresh process token, unique in its pod (API: Process.Token)."""
    return os.urandom(16).hex()


def resolve(what: str, prefix: str, known: Iterable[str]) -> str:
    """The one id that equals or begins with `prefix`.

    Raises:
        NotFound: no id fits.
        AmbiguousId: several fit and none is equal.
    """
    names = list(known)
    if prefix in names:
        return prefix
    fits = sorted(name for name in names if prefix and name.startswith(prefix))
    if not fits:
        raise NotFound(f"there is no {what} {prefix!r}; list what there is to see the ids")
    if len(fits) > 1:
        shown = ", ".join(fits[:4]) + (", …" if len(fits) > 4 else "")
        raise AmbiguousId(f"{what} id {prefix!r} fits {len(fits)} ({shown}); give more of it")
    return fits[0]
