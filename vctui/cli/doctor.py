"""`vctui doctor`: what the product needs on this host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from vctui.cli.call import Call, Command
from vctui.cli.diagnostics import FAILED, Ended

if TYPE_CHECKING:
    from vctui.model.doctor import Check

_WORDS: Final = {True: ("ok", "state-running"), None: ("warn", "warning"), False: ("fail", "error")}
"""`ok` of a check → word and colour role."""


@click.command(cls=Command)
@click.pass_obj
def doctor(call: Call) -> None:
    """Check everything that vctui needs here, one line each, with the remedy.

    The exit status is 1 where something is missing without which no pod runs.
    """
    from vctui.cli import interrupts
    from vctui.engine import doctor as examiner

    found: list[Check] = []

    async def work() -> None:
        found.extend(await examiner.examine(call.settings))

    interrupts.run(work(), call.diagnostics)
    if call.output.json:
        call.output.document(found)
    else:
        width = max((len(check.name) for check in found), default=0)
        for check in found:
            word, role = _WORDS[check.ok]
            remedy = f"; {check.remedy}" if check.remedy and check.ok is not True else ""
            painted = call.output.painted(f"{word:<4}", role)
            call.output.text(f"{painted}  {check.name:<{width}}  {check.detail}{remedy}")
    if any(check.ok is False for check in found):
        raise Ended(FAILED)
