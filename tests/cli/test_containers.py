"""`vctui container …`, `logs` and `events` on the mock hypervisor and the noop agent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Cli


@pytest.fixture
def running(cli: Cli, web: Path) -> Cli:
    assert cli("pod", "run", str(web)).status == 0
    return cli


@pytest.fixture
def second(tmp_path: Path) -> Path:
    file = tmp_path / "second.toml"
    file.write_text(f'id = "second"\nrootfs = "{tmp_path}/rootfs"\ncmd = {{args = ["sh"]}}')
    return file


def test_a_containers_life_in_plain_words(running: Cli, second: Path) -> None:
    assert running("container", "create", "web", str(second)).out == "second created\n"
    for verb, said in (("start", "started"), ("stop", "stopped"), ("delete", "deleted")):
        result = running("container", verb, "web", "second")
        assert (result.status, result.out, result.err) == (0, f"second {said}\n", "")
    listed = running("container", "list", "web", "--json").document
    assert [one["id"] for one in listed] == ["main"]


def test_a_container_is_a_table_row_and_a_document(running: Cli) -> None:
    header, row = running("container", "list", "web").lines
    assert header.split()[:2] == ["NAME", "STATE"]
    assert row.split()[:2] == ["main", "running"]
    status = running("container", "status", "web", "main", "--json").document
    assert status["pod_id"] == "web"
    assert status["args"] == ["sleep", "1000"]
    assert "sleep 1000" in running("container", "status", "web", "main").out


def test_a_pod_without_containers_says_how_to_add_one(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "empty.toml"
    file.write_text('id = "empty"')
    cli("pod", "create", str(file))
    result = cli("container", "list", "empty")
    assert (result.status, result.out) == (0, "")
    assert "vctui container create empty FILE" in result.err


def test_prefixes_name_containers_too(running: Cli) -> None:
    assert running("container", "status", "w", "ma", "--json").document["id"] == "main"


def test_an_unknown_container_is_one_sentence(running: Cli) -> None:
    result = running("container", "status", "web", "ghost", "--json")
    assert result.status == 1
    assert result.document["error"]["kind"] == "not-found"


def test_the_id_of_another_container_is_taken(running: Cli, second: Path) -> None:
    second.write_text(second.read_text().replace("second", "main", 1))
    result = running("container", "create", "web", str(second), "--json")
    assert result.status == 1
    assert result.document["error"]["kind"] == "already-exists"


def test_kill_says_which_signal_was_sent(running: Cli) -> None:
    result = running("container", "kill", "web", "main", "-s", "usr1")
    assert (result.status, result.out) == (0, "main was sent SIGUSR1\n")
    document = running("container", "kill", "web", "main", "--all", "--json").document
    assert document == {"pod_id": "web", "id": "main", "signal": 15, "all": True}


def test_a_command_in_a_container_that_does_not_run_is_refused(running: Cli) -> None:
    running("pod", "stop", "web")
    result = running("container", "exec", "web", "main", "--json", "--", "true")
    assert result.status == 1
    assert result.document["error"]["kind"] == "wrong-state"


def test_a_command_must_be_runnable(running: Cli) -> None:
    result = running("container", "exec", "web", "main", "--workdir", "tmp", "--", "true")
    assert result.status == 1
    assert result.err == "error: work_dir 'tmp' is not absolute; begin it with '/'\n"


def test_a_detached_process_is_known_by_its_token(running: Cli) -> None:
    result = running("container", "exec", "-d", "web", "main", "--", "sleep", "5")
    assert result.status == 0
    assert len(result.out.strip()) == 32


def test_processes_are_json_that_the_agent_told(running: Cli) -> None:
    assert isinstance(running("container", "ps", "web", "main", "--json").document, list)


def test_the_logs_of_a_pod_with_several_containers_need_a_name(running: Cli, second: Path) -> None:
    running("container", "create", "web", str(second))
    result = running("logs", "web", "--json")
    assert result.status == 1
    assert result.document["error"]["kind"] == "ambiguous-id"
    assert "(main, second); name one" in result.document["error"]["message"]


def test_the_pods_own_logs_take_no_container(running: Cli) -> None:
    result = running("logs", "web", "main", "--source", "agent")
    assert result.status == 2
    assert "the agent log is the pod's; leave the container out" in result.err


def test_events_tell_what_happened_to_whom(running: Cli) -> None:
    running("pod", "pause", "web")
    running("pod", "delete", "web")
    events = running("events", "--json").document
    kinds = [event["kind"] for event in events]
    assert kinds[0] == "pod-created"
    assert "pod-paused" in kinds
    assert kinds[-1] == "pod-deleted"
    assert {event["pod_id"] for event in events} == {"web"}
    assert len(running("events").lines) == len(events) + 1
    assert running("events", "--tail", "1", "--json").document == events[-1:]
    assert running("events", "--pod", "other", "--json").document == []
