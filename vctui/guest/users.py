"""Who a process runs as: names and numbers, looked up in the container's own databases."""

from __future__ import annotations

from vctui.errors import AgentError
from vctui.guest import rooted
from vctui.wire import ttrpc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from vctui.wire.pb import agent_pb2 as agent
    from vctui.wire.pb import oci_pb2 as oci

_MAX_DATABASE = 1024 * 1024
_MAX_ID = 0xFFFFFFFE  # the last number means "no change" to the kernel


class Identity:
    """What setuid, setgid and setgroups are given."""

    def __init__(self, uid: int = 0, gid: int = 0, groups: Iterable[int] = ()) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = tuple(groups)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Identity({self.uid}, {self.gid}, {self.groups})"


def identify(process: oci.Process, names: agent.StringUser, rootfs: str) -> Identity:
    """The identity that `names` ask for, else the process's own.

    Raises:
        AgentError: a name is in no database of the container.
    """
    user, group, more = process.user.Username, "", list(names.additionalGids)
    if names.uid or names.gid or more:
        user, group = names.uid, names.gid
    if not (user or group or more):
        own = process.user
        return Identity(own.UID, own.GID, own.AdditionalGids)
    if ":" in user:
        user, _, group_of_user = user.partition(":")
        group = group or group_of_user
    fallback = Identity(process.user.UID, process.user.GID, process.user.AdditionalGids)
    return resolve(
        user,
        group,
        more,
        passwd=read_below(rootfs, "etc/passwd"),
        groups=read_below(rootfs, "etc/group"),
        fallback=fallback,
    )


def resolve(
    user: str,
    group: str,
    more: Iterable[str],
    *,
    passwd: str,
    groups: str,
    fallback: Identity,
) -> Identity:
    """Pure: names and numbers → identity. A user brings the group of its entry, and a user
    without a group asked for also the groups that list it.

    Raises:
        AgentError: a name stands in neither text.
    """
    uid, gid, supplementary = fallback.uid, fallback.gid, list(fallback.groups)
    if user:
        entry = _entry(passwd, user)
        if entry is not None:
            uid, gid = int(entry[2]), int(entry[3])
            if not group:
                supplementary += [
                    int(row[2])
                    for row in _rows(groups, 4)
                    if entry[0] in row[3].split(",") and int(row[2]) != gid
                ]
        elif _is_id(user):
            uid, gid = int(user), fallback.gid
        else:
            raise AgentError(
                f"there is no user {user!r} in the container's /etc/passwd",
                code=ttrpc.INVALID_ARGUMENT,
            )
    if group:
        gid = _group(groups, group)
    supplementary += [_group(groups, each) for each in more]
    return Identity(uid, gid, dict.fromkeys(supplementary))


def user_names(passwd: str) -> dict[int, str]:
    """Pure: uid → the first name that it has."""
    return {int(row[2]): row[0] for row in reversed(_rows(passwd, 4))}


def read_below(root: str, path: str) -> str:
    """The text of a small file of a root file system, "" where there is none."""
    try:
        with open(rooted.open_file(root, path), "rb") as file:
            return file.read(_MAX_DATABASE).decode(errors="replace")
    except OSError:
        return ""


def _rows(text: str, columns: int) -> list[list[str]]:
    """Lines of a database that have their columns, with a number in the third."""
    rows = (line.split(":") for line in text.splitlines())
    return [row for row in rows if len(row) >= columns and _is_id(row[2])]


def _entry(passwd: str, name: str) -> list[str] | None:
    """The row of a user's name, else that of its number."""
    rows = [row for row in _rows(passwd, 4) if _is_id(row[3])]
    for column in (0, 2):
        for row in rows:
            if row[column] == name:
                return row
    return None


def _group(groups: str, name: str) -> int:
    for row in _rows(groups, 3):
        if row[0] == name:
            return int(row[2])
    if not _is_id(name):
        raise AgentError(
            f"there is no group {name!r} in the container's /etc/group",
            code=ttrpc.INVALID_ARGUMENT,
        )
    return int(name)


def _is_id(text: str) -> bool:
    return len(text) <= 10 and text.isascii() and text.isdecimal() and int(text) <= _MAX_ID
