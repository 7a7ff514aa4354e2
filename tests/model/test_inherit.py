"""A process that is added to a container has no more rights than the container."""

from __future__ import annotations

from vctui.model.container import Capabilities, Cmd, EnvVar
from vctui.model.inherit import within
from vctui.model.linux import Rlimit

FIRST = Cmd(
    args=("serve",),
    envs=(EnvVar(var="A", value="1"), EnvVar(var="B", value="2")),
    work_dir="/srv",
    user="web",
    primary_group="7",
    supplementary_groups=("8",),
    interactive=True,
    console="/dev/pts/9",
    no_new_privileges=True,
    capabilities=Capabilities(bounding=("CAP_CHOWN",)),
    rlimits=(
        Rlimit(type="RLIMIT_CORE", soft=0, hard=0),
        Rlimit(type="RLIMIT_CPU", soft=1, hard=1),
    ),
    oom_score_adj=5,
)


def test_what_is_left_out_is_the_containers() -> None:
    cmd = within(Cmd(args=("ls",)), FIRST)
    assert cmd.args == ("ls",)
    assert (cmd.interactive, cmd.console) == (False, "")
    for name in (
        *("envs", "work_dir", "user", "primary_group", "supplementary_groups"),
        *("no_new_privileges", "capabilities", "rlimits", "oom_score_adj"),
    ):
        assert getattr(cmd, name) == getattr(FIRST, name), name


def test_what_is_given_wins() -> None:
    given = Cmd(
        args=("ls",),
        envs=(EnvVar(var="B", value="3"),),
        work_dir="/",
        user="0",
        capabilities=Capabilities(),
        rlimits=(Rlimit(type="RLIMIT_CPU", soft=9, hard=9),),
        oom_score_adj=1,
    )
    cmd = within(given, FIRST)
    assert [str(one) for one in cmd.envs] == ["A=1", "B=3"]
    assert (cmd.work_dir, cmd.user, cmd.primary_group) == ("/", "0", "")
    assert cmd.supplementary_groups == ()
    assert cmd.capabilities == Capabilities()
    assert [one.soft for one in cmd.rlimits] == [0, 9]
    assert cmd.oom_score_adj == 1
