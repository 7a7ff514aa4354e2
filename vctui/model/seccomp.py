"""A filter of system calls, in the words of the OCI runtime specification (`linux.seccomp`)."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from vctui.errors import InvalidConfig

_ACTIONS: Final = (
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
)
"""All but SCMP_ACT_NOTIFY, which needs somebody to ask on the host."""
_OPERATORS: Final = (
    *("SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ"),
    *("SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ"),
)
_ARCHITECTURE: Final = re.compile(r"SCMP_ARCH_[A-Z0-9_]{1,20}\Z")
_FLAG: Final = re.compile(r"SECCOMP_FILTER_FLAG_[A-Z_]{1,20}\Z")
_LARGEST: Final = 2**64 - 1
_ERRNO: Final = 4095


class SeccompArg(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """A condition on an argument of a system call."""

    index: int
    """Which argument, 0 to 5."""
    value: int
    op: str
    """`SCMP_CMP_EQ` and such."""
    value_two: int = 0
    """What is compared after masking, for `SCMP_CMP_MASKED_EQ`."""


class SeccompRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """What happens on some system calls."""

    names: tuple[str, ...]
    action: str
    """`SCMP_ACT_ALLOW`, `SCMP_ACT_ERRNO` and such."""
    errno_ret: int | None = None
    """Error that the call gives with `SCMP_ACT_ERRNO`; None: EPERM."""
    args: tuple[SeccompArg, ...] = ()
    """All conditions must hold."""


class Seccomp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """Which system calls the processes of a container may make."""

    default_action: str
    """On what no rule names."""
    architectures: tuple[str, ...] = ()
    """`SCMP_ARCH_X86_64` and such; none: the machine's."""
    flags: tuple[str, ...] = ()
    """`SECCOMP_FILTER_FLAG_LOG` and such."""
    syscalls: tuple[SeccompRule, ...] = ()


def check_seccomp(seccomp: Seccomp, where: str) -> None:
    """Raises InvalidConfig for words that are none. `where` precedes the keys in errors."""
    _check_action(f"{where}default_action", seccomp.default_action)
    for key, pattern in (("architectures", _ARCHITECTURE), ("flags", _FLAG)):
        for index, word in enumerate(getattr(seccomp, key)):
            if not pattern.match(word):
                raise InvalidConfig(
                    f"{where}{key}[{index}] {word!r} is no word of seccomp; write it as the OCI "
                    "runtime specification does"
                )
    for number, rule in enumerate(seccomp.syscalls):
        at = f"{where}syscalls[{number}]."
        _check_action(f"{at}action", rule.action)
        if not rule.names or not all(rule.names):
            raise InvalidConfig(f"{at}names is empty; name the system calls")
        if not 0 <= (rule.errno_ret or 0) <= _ERRNO:
            raise InvalidConfig(f"{at}errno_ret is {rule.errno_ret}, which is no error's number")
        for index, arg in enumerate(rule.args):
            if arg.op not in _OPERATORS or not 0 <= arg.index <= 5:
                raise InvalidConfig(
                    f"{at}args[{index}] compares argument {arg.index} by {arg.op!r}; there are "
                    f"arguments 0 to 5, and {', '.join(_OPERATORS)}"
                )
            if not (0 <= arg.value <= _LARGEST and 0 <= arg.value_two <= _LARGEST):
                raise InvalidConfig(f"{at}args[{index}] has a value of more than 64 bits")


def _check_action(where: str, action: str) -> None:
    if action not in _ACTIONS:
        raise InvalidConfig(
            f"{where} {action!r} is no action that a machine can take; use one of "
            f"{', '.join(_ACTIONS)}"
        )
