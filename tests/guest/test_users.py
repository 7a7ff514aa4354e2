from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.errors import AgentError
from vctui.guest.users import Identity, identify, read_below, resolve, user_names
from vctui.wire.pb import agent_pb2, oci_pb2

PASSWD = "root:x:0:0:root:/root:/bin/sh\nann:x:1000:100::/:\nbroken\nodd:x:y:z::/:\n42:x:7:7::/:\n"
GROUP = "root:x:0:\nusers:x:100:\naudio:x:29:bob,ann\nvideo:x:44:ann\nbad:x:x:ann\n"


def look_up(user: str, group: str = "", *more: str, **how: Identity) -> Identity:
    fallback = how.get("fallback", Identity())
    return resolve(user, group, more, passwd=PASSWD, groups=GROUP, fallback=fallback)


@pytest.mark.parametrize(
    ("user", "group", "more", "expected"),
    [
        ("ann", "", (), Identity(1000, 100, (29, 44))),
        ("1000", "", (), Identity(1000, 100, (29, 44))),
        ("ann", "audio", (), Identity(1000, 29)),
        ("ann", "5", ("video", "6"), Identity(1000, 5, (44, 6))),
        ("4711", "", (), Identity(4711, 0)),
        ("42", "", (), Identity(7, 7)),
        ("", "users", (), Identity(0, 100)),
        ("", "", ("29", "29"), Identity(0, 0, (29,))),
    ],
)
def test_names_and_numbers(
    user: str, group: str, more: tuple[str, ...], expected: Identity
) -> None:
    assert look_up(user, group, *more) == expected


@pytest.mark.parametrize(
    ("user", "group", "said"),
    [
        ("eve", "", "no user 'eve'"),
        ("odd", "", "no user 'odd'"),
        ("root", "eves", "no group 'eves'"),
        ("4294967295", "", "no user"),
        ("9" * 5000, "", "no user"),
        ("-1", "", "no user"),
        ("٣", "", "no user"),
    ],
)
def test_strangers(user: str, group: str, said: str) -> None:
    with pytest.raises(AgentError, match=said):
        look_up(user, group)


@given(passwd=st.text(), groups=st.text(), user=st.text(min_size=1))
def test_hostile_databases_give_an_identity_or_an_error(
    passwd: str, groups: str, user: str
) -> None:
    try:
        found = resolve(user, "", [], passwd=passwd, groups=groups, fallback=Identity())
    except AgentError:
        return
    assert all(0 <= number < 2**32 - 1 for number in (found.uid, found.gid, *found.groups))


def test_who_asks_for_nothing_runs_as_the_process_says(tmp_path: Path) -> None:
    process = oci_pb2.Process(user=oci_pb2.User(UID=1, GID=2, AdditionalGids=[3]))
    nobody = agent_pb2.StringUser()
    assert identify(process, nobody, str(tmp_path)) == Identity(1, 2, (3,))


def test_a_name_with_a_group(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_text(PASSWD)
    (tmp_path / "etc" / "group").write_text(GROUP)
    process = oci_pb2.Process(user=oci_pb2.User(Username="ann:audio"))
    assert identify(process, agent_pb2.StringUser(), str(tmp_path)) == Identity(1000, 29)
    asked = agent_pb2.StringUser(uid="ann", gid="users")
    assert identify(process, asked, str(tmp_path)) == Identity(1000, 100)


def test_links_are_followed_as_the_container_would(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "real").mkdir()
    (root / "real" / "passwd").write_text("inside")
    (tmp_path / "passwd").write_text("outside")
    for target, expected in (
        ("/real/passwd", "inside"),
        ("../real/passwd", "inside"),
        ("../../../../real/passwd", "inside"),
        ("../../passwd", ""),
        (str(tmp_path / "passwd"), ""),
        ("passwd", ""),  # itself
        ("/etc", ""),
    ):
        (root / "etc" / "passwd").unlink(missing_ok=True)
        (root / "etc" / "passwd").symlink_to(target)
        assert read_below(str(root), "etc/passwd") == expected, target


def test_a_folder_that_is_a_link(tmp_path: Path) -> None:
    (tmp_path / "usr" / "etc").mkdir(parents=True)
    (tmp_path / "usr" / "etc" / "passwd").write_text("linked")
    (tmp_path / "etc").symlink_to("usr/etc")
    assert read_below(str(tmp_path), "etc/passwd") == "linked"
    assert read_below(str(tmp_path), "none/passwd") == ""


def test_names_by_number() -> None:
    assert user_names(PASSWD + "alias:x:1000:100::/:\n") == {0: "root", 1000: "ann", 7: "42"}
