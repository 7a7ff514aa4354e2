"""Words and options: what is accepted where, and what is said about the rest."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import pytest

import vctui
from tests.cli.conftest import Cli
from vctui.cli.logs import Since
from vctui.cli.main import root
from vctui.cli.processes import EnvAssignment, SignalName

WORDS = {
    "pod": {"create", "run", "start", "stop", "restart", "pause", "resume", "delete", "list"}
    | {"status"},
    "container": {"create", "start", "stop", "delete", "status", "list", "exec", "attach"}
    | {"kill", "ps"},
    "guest": {"build", "list"},
}


def commands(group: click.Group, path: str = "") -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found.append((f"{path} {name}".strip(), command))
        if isinstance(command, click.Group):
            found += commands(command, f"{path} {name}".strip())
    return found


def test_the_words_that_scripts_depend_on_are_there() -> None:
    paths = {path for path, _ in commands(root)}
    assert {"demo", "doctor", "logs", "console", "events", *WORDS} <= paths
    assert {f"{group} {word}" for group, words in WORDS.items() for word in words} <= paths


@pytest.mark.parametrize(("path", "command"), commands(root))
def test_every_command_takes_json_and_says_what_it_is_for(
    path: str, command: click.Command
) -> None:
    assert "json" in {param.name for param in command.params}
    assert command.help, path


def test_version(cli: Cli) -> None:
    assert cli("--version").out == f"vctui {vctui.__version__}\n"


@pytest.mark.parametrize(
    "argv",
    [
        ("pod", "lis"),
        ("pod", "start"),
        ("pod", "run"),
        ("--colour", "pod", "list"),
        ("container", "exec", "web", "main"),
        ("container", "exec", "web", "main", "ls", "-l"),
        ("container", "kill", "web", "main", "--signal", "NOPE"),
        ("container", "kill", "web", "main", "--signal", "0"),
        ("container", "kill", "web", "main", "--signal", "65"),
        ("container", "ps", "web", "main", "--format", "xml"),
        ("container", "exec", "web", "main", "--env", "=x", "--", "env"),
        ("logs", "web", "--since", "yesterday"),
        ("logs", "web", "--tail", "-1"),
        ("pod", "stop", "web", "--timeout", "-1"),
    ],
)
def test_wrong_usage_is_status_2_one_line_and_changes_nothing(
    cli: Cli, argv: tuple[str, ...]
) -> None:
    result = cli(*argv)
    assert result.status == 2
    assert result.out == ""
    assert result.err.startswith("error: ")
    assert len(result.err.splitlines()) == 1
    assert "--help`" in result.err


def test_wrong_usage_is_a_document_in_json(cli: Cli) -> None:
    result = cli("pod", "start", "--json")
    assert result.status == 2
    assert result.document["error"]["kind"] == "usage"
    assert "missing argument 'ID'" in result.document["error"]["message"]
    assert result.err == ""


def test_a_group_without_a_command_shows_its_help(cli: Cli) -> None:
    result = cli("pod")
    assert result.status == 2
    assert "Commands:" in result.err


def test_alone_it_needs_a_terminal(cli: Cli) -> None:
    result = cli()
    assert result.status == 2
    assert "needs a terminal" in result.err


def test_alone_on_a_terminal_it_opens_the_console(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert cli().out == "the console, read-only: False\n"
    result = cli("--read-only")
    assert (result.status, result.out) == (7, "the console, read-only: True\n")


def test_a_missing_configuration_is_one_sentence(cli: Cli) -> None:
    result = cli("pod", "list", "--config", "/nowhere/config.toml")
    assert result.status == 1
    assert result.err == (
        "error: cannot read the configuration /nowhere/config.toml: No such file or directory; "
        "name another with --config\n"
    )


@pytest.mark.parametrize(
    ("text", "number"), [("TERM", 15), ("SIGTERM", 15), ("term", 15), ("9", 9), ("64", 64)]
)
def test_signals_have_names_and_numbers(text: str, number: int) -> None:
    assert SignalName().convert(text, None, None) == number


def test_an_assignment_without_a_value_takes_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANG", "C.UTF-8")
    assert str(EnvAssignment().convert("LANG", None, None)) == "LANG=C.UTF-8"
    assert str(EnvAssignment().convert("A=b=c", None, None)) == "A=b=c"


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("90s", timedelta(seconds=90)),
        ("10m", timedelta(minutes=10)),
        ("1h30m", timedelta(minutes=90)),
        ("2d", timedelta(days=2)),
    ],
)
def test_since_counts_back_from_now(text: str, ago: timedelta) -> None:
    since = Since().convert(text, None, None)
    assert abs(datetime.now(UTC) - ago - since) < timedelta(seconds=5)


def test_since_takes_a_time() -> None:
    expected = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
    assert Since().convert("2026-01-31T12:00:00Z", None, None) == expected
    assert Since().convert("2026-01-31T14:00:00+02:00", None, None) == expected


@pytest.mark.parametrize("text", ["", "m", "10", "-5m", "99999999999999d", "2026-13-01"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Since().convert(text, None, None)
