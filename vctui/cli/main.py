"""The root command, and how each way to fail becomes words and an exit status."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import Any, Final

import click

import vctui
from vctui.cli.call import Call, OpenConsole, global_options
from vctui.cli.diagnostics import (
    BY_SIGNAL,
    DONE,
    FAILED,
    MAX_SENTENCE,
    USAGE,
    Ended,
    Interrupted,
)
from vctui.cli.output import OutputFailed
from vctui.errors import CommandFailed, VctuiError

PROGRAM: Final = "vctui"

COMMANDS: Final = {
    "console": ("processes", "Join a pod's serial console."),
    "container": ("processes", "Containers and their processes."),
    "demo": ("demo", "Show what vctui does, with a pod of its own."),
    "doctor": ("doctor", "Check what vctui needs on this host."),
    "events": ("logs", "Show what happened to all pods."),
    "guest": ("guest", "Build and list the guests that pods boot."),
    "image": ("images", "Import, list and remove container images."),
    "logs": ("logs", "Show a container's, agent's or console's log."),
    "network": ("networks", "Make, list and describe networks for pods."),
    "pod": ("pods", "Create, run and change pods."),
}
"""Word → module that has it, and what it is for."""

_BROKEN_PIPE: Final = BY_SIGNAL + 13
_COMPLETION: Final = "_VCTUI_COMPLETE"
"""click's shell completion asks through this variable."""


class Words(click.Group):
    """The root: its commands are loaded when they are called, its help without loading any."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(global_options(hidden=False))

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        from importlib import import_module

        module, _ = COMMANDS[cmd_name]
        command = getattr(import_module(f"vctui.cli.{module}"), cmd_name)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])


@click.group(
    PROGRAM,
    cls=Words,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(vctui.__version__, prog_name=PROGRAM, message="%(prog)s %(version)s")
@click.pass_context
def root(context: click.Context) -> None:
    """Run pods in QEMU virtual machines, and look after them.

    Without a command the console opens.
    """
    call = context.ensure_object(Call)
    if context.invoked_subcommand is None:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise click.UsageError("the console needs a terminal; name a command here", context)
        raise Ended(call.console())


def run(argv: Sequence[str], *, open_console: OpenConsole | None = None) -> int:
    """Run one command line; its exit status."""
    call = Call(open_console)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        status = _run(argv, call)
        call.output.flush()
    except BrokenPipeError:
        # Nobody reads any more. Python must not find that out once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except OutputFailed as error:
        call.diagnostics.error(str(error))
        return FAILED
    return status


def _run(argv: Sequence[str], call: Call) -> int:
    try:
        if instruction := os.environ.get(_COMPLETION):
            from click.shell_completion import shell_complete

            return shell_complete(root, {}, PROGRAM, _COMPLETION, instruction)
        with root.make_context(PROGRAM, list(argv), obj=call) as context:
            root.invoke(context)
    except Ended as end:
        return end.status
    except click.exceptions.Exit as end:
        return end.exit_code
    except (Interrupted, KeyboardInterrupt) as interrupt:
        return BY_SIGNAL + (interrupt.number if isinstance(interrupt, Interrupted) else 2)
    except click.exceptions.NoArgsIsHelpError as error:
        if call.output.json:
            _report(call, argv, "usage", "a command is missing; see --help")
        else:
            call.diagnostics.note(error.format_message())
        return USAGE
    except click.UsageError as error:
        _report(call, argv, "usage", _usage(error))
        return USAGE
    except click.ClickException as error:
        _report(call, argv, "usage", error.format_message())
        return error.exit_code
    except CommandFailed as error:
        _report(call, argv, error.kind, str(error))
        return error.exit_code if call.stands_for_process else FAILED
    except VctuiError as error:
        _report(call, argv, error.kind, str(error))
        for note in getattr(error, "__notes__", ()):
            call.diagnostics.detail(note)
        return FAILED
    except (BrokenPipeError, OutputFailed):
        raise
    except Exception as error:
        from vctui.present import problems

        if call.diagnostics.verbosity:
            import traceback

            traceback.print_exc()
        _report(call, argv, "defect", problems.describe(error).sentence)
        return FAILED
    return DONE


def _report(call: Call, argv: Sequence[str], kind: str, message: str) -> None:
    """In JSON mode the error is the command's document, elsewhere a line on standard error."""
    from vctui.present.humanize import plain

    ours = list(argv)[: list(argv).index("--")] if "--" in argv else argv
    if call.output.json or "--json" in ours:
        call.output.line({"error": {"kind": kind, "message": plain(message, MAX_SENTENCE)}})
    else:
        call.diagnostics.error(message)


def _usage(error: click.UsageError) -> str:
    path = error.ctx.command_path if error.ctx else PROGRAM
    message = error.format_message().rstrip(".")
    return f"{message[:1].lower()}{message[1:]}; see `{path} --help`"
