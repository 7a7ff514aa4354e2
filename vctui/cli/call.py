"""One call of the program: its global options, and the way to the engine."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol

import click

from vctui.cli.diagnostics import Diagnostics
from vctui.cli.output import Output
from vctui.linux import lean

if TYPE_CHECKING:
    from vctui.engine.runtime import Runtime
    from vctui.settings import Settings

P = ParamSpec("P")


class OpenConsole(Protocol):
    """Opens the console and returns its exit status; given from above, because faces do not
    import each other."""

    def __call__(self, settings: Settings, *, read_only: bool) -> int: ...


class Call:
    """What the global options said. Each may stand before or after the sub-command."""

    def __init__(self, open_console: OpenConsole | None = None) -> None:
        self.options: dict[str, Any] = {}
        self.output = Output()
        self.diagnostics = Diagnostics()
        self.stands_for_process = False
        """The exit status is that of a process in a container, also where it cannot start."""
        self._open_console = open_console

    def set(self, name: str, value: Any) -> None:
        self.options[name] = value
        if name == "json":
            self.output.json = True
        elif name == "verbose":
            self.diagnostics.verbosity = value

    @functools.cached_property
    def settings(self) -> Settings:
        """Raises FileProblem, InvalidConfig."""
        with lean.without("typing_extensions"):  # msgspec does without
            from vctui import settings

        config: Path | None = self.options.get("config")
        names = ("run_dir", "state_dir", "cache_dir")
        overrides = {name: str(self.options[name]) for name in names if name in self.options}
        return settings.load(config, overrides)

    @property
    def read_only(self) -> bool:
        return bool(self.options.get("read_only")) or self.settings.console.read_only

    def run(self, body: Callable[[Runtime], Coroutine[Any, Any, None]]) -> None:
        """Run `body` with the engine; a signal cancels it and lets the engine undo."""
        settings, read_only = self.settings, self.read_only
        if self.diagnostics.verbosity:
            from vctui.telemetry import logs

            logs.to_stderr(self.diagnostics.verbosity)
        with lean.without("ssl"):  # asyncio does without
            from vctui.cli import interrupts
        from vctui.engine.runtime import Runtime

        async def whole() -> None:
            async with Runtime(settings, read_only=read_only) as runtime:
                await body(runtime)

        interrupts.run(whole(), self.diagnostics)

    def console(self) -> int:
        """Open the console; its exit status."""
        if self._open_console is None:
            raise click.UsageError("the console cannot be opened from here; name a command")
        return self._open_console(self.settings, read_only=self.read_only)


def with_engine(
    function: Callable[Concatenate[Call, Runtime, P], Awaitable[None]],
) -> Callable[P, None]:
    """Make a coroutine function a click callback that gets the call and the engine."""

    @functools.wraps(function)
    def callback(*args: P.args, **kwargs: P.kwargs) -> None:
        call = click.get_current_context().find_object(Call)
        if call is None:
            raise RuntimeError("the root command did not make a Call")

        async def body(runtime: Runtime) -> None:
            await function(call, runtime, *args, **kwargs)

        call.run(body)

    return callback


def _remember(context: click.Context, param: click.Parameter, value: Any) -> None:
    if not value or param.name is None:
        return
    context.find_root().ensure_object(Call).set(param.name, value)


@functools.cache
def global_options(*, hidden: bool) -> tuple[click.Parameter, ...]:
    """The options that every command takes. They have no state, so commands share them."""
    folder = click.Path(path_type=Path, file_okay=False)

    def option(*names: str, shown: bool = False, **attributes: Any) -> click.Option:
        return click.Option(
            names,
            expose_value=False,
            is_eager=True,
            callback=_remember,
            hidden=hidden and not shown,
            **attributes,
        )

    return (
        option("--json", is_flag=True, shown=True, help="Print JSON."),
        option(
            "--config",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Read this config.toml.",
        ),
        option("--run-dir", type=folder, help="Folder for sockets, mounts and logs."),
        option("--state-dir", type=folder, help="Folder for the database."),
        option("--cache-dir", type=folder, help="Folder for built guests."),
        option("--read-only", is_flag=True, help="Refuse every change."),
        option("-v", "--verbose", count=True, help="Say more on standard error; twice: all."),
    )


class Command(click.Command):
    """A command that takes the global options too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(global_options(hidden=True))


class Group(click.Group):
    """A group whose commands, and which itself, take the global options."""

    command_class = Command

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(global_options(hidden=True))
