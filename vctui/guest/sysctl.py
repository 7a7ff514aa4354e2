"""Kernel parameters that containers ask for.

They are written by the agent: network, IPC and host name are the guest's, not the container's, and
crun only writes what belongs to namespaces that it makes.
"""

from __future__ import annotations

from vctui.errors import AgentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def apply(parameters: Mapping[str, str], proc: str) -> None:
    """Write each parameter.

    Raises:
        AgentError: there is none of that name, or the kernel refuses the value.
    """
    for name, value in parameters.items():
        try:
            with open(path(name, proc), "w", encoding="utf-8") as file:
                file.write(value)
        except FileNotFoundError:
            raise AgentError(f"the guest's kernel has no parameter {name}") from None
        except OSError as error:
            raise AgentError(
                f"the guest's kernel refuses {value!r} for {name}: {error.strerror}"
            ) from error


def path(name: str, proc: str) -> str:
    """As sysctl(8): the first separator tells which one is, so that names may hold the other.

    Raises:
        AgentError: the name leads elsewhere.
    """
    dot, slash = name.find("."), name.find("/")
    if dot >= 0 and not 0 <= slash < dot:
        name = name.translate({ord("."): "/", ord("/"): "."})
    if not name or not all(part.strip(".") for part in name.split("/")):
        raise AgentError(f"{name!r} is no kernel parameter")
    return f"{proc}/sys/{name}"
