"""Why crun could not start a process, in the words of the Kata agent."""

from __future__ import annotations

from vctui.errors import AgentError

_MAX_ERROR = 4096
_NOT_EXECUTABLE = (
    "open executable",
    "Exec format error",
    "exists but it is not executable",
    "is not a regular file",
)
"""How crun's versions say that there is something and that it is no program."""
_PERMISSION = ("permission denied", "operation not permitted")


def failure(text: str, program: str) -> AgentError:
    """The error of a process that crun could not start.

    A command that does not exist and one that cannot be executed read as the Kata agent's do:
    hosts tell them by "executable file … not found" and "permission denied".
    """
    last = text.strip().splitlines()[-1][-_MAX_ERROR:] if text.strip() else "crun gave no reason"
    what = f"executable file `{program}`"
    if "executable file" in last and "not found" in last:
        return AgentError(f"{what} not found in $PATH")
    if "chdir" in last:
        return AgentError(f"the working directory cannot be entered: {last}")
    if any(sign in last for sign in _NOT_EXECUTABLE):
        reason = last.rpartition(": ")[2].lower()
        detail = "" if reason in _PERMISSION else f" ({reason})"
        return AgentError(f"{what}: permission denied{detail}")
    if "exec container process" in last or last.startswith("exec: "):
        return AgentError(f"{what} not found: the interpreter or loader that it names is missing")
    return AgentError(f"crun: {last}")
