"""What a process that is added to a container has of the container's own. Pure."""

from __future__ import annotations

import msgspec

from vctui.model.container import Cmd


def within(cmd: Cmd, first: Cmd) -> Cmd:
    """`cmd` with what it leaves out from the container's first process.

    So it has the container's environment and no more rights than the container: given variables and
    limits win over those of the same name, a given user has groups of its own.
    """
    given = {each.var for each in cmd.envs}
    limited = {each.type for each in cmd.rlimits}
    whose = cmd if cmd.user or cmd.primary_group or cmd.supplementary_groups else first
    return msgspec.structs.replace(
        cmd,
        user=whose.user,
        primary_group=whose.primary_group,
        supplementary_groups=whose.supplementary_groups,
        envs=(*(each for each in first.envs if each.var not in given), *cmd.envs),
        work_dir=cmd.work_dir or first.work_dir,
        no_new_privileges=cmd.no_new_privileges or first.no_new_privileges,
        capabilities=first.capabilities if cmd.capabilities is None else cmd.capabilities,
        rlimits=(*(each for each in first.rlimits if each.type not in limited), *cmd.rlimits),
        oom_score_adj=cmd.oom_score_adj or first.oom_score_adj,
    )
