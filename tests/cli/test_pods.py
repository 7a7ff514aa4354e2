"""`vctui pod …` on the mock hypervisor: what is said, printed and left behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli


def test_a_pods_life_in_plain_words(cli: Cli, web: Path) -> None:
    assert cli("pod", "create", str(web)).out == "web created\n"
    for verb in ("start", "pause", "resume", "stop", "restart", "delete"):
        result = cli("pod", verb, "web")
        said = {"stop": "stopped", "pause": "paused"}.get(verb, f"{verb.rstrip('e')}ed")
        assert (result.status, result.out, result.err) == (0, f"web {said}\n", "")
    result = cli("pod", "list")
    assert (result.status, result.out) == (0, "")
    assert "no pods" in result.err


def test_run_prints_the_id_for_scripts(cli: Cli, web: Path) -> None:
    assert cli("pod", "run", str(web)).out == "web\n"


def test_a_change_prints_the_new_status_in_json(cli: Cli, web: Path) -> None:
    status = cli("pod", "run", str(web), "--json").document
    assert status["id"] == "web"
    assert status["state"] == "running"
    assert status["hypervisor"] == "mock"
    assert [one["id"] for one in status["containers_status"]] == ["main"]
    assert cli("--json", "pod", "pause", "web").document["state"] == "paused"
    assert cli("pod", "--json", "stop", "web").document["state"] == "stopped"


def test_the_list_is_a_table_or_an_array(cli: Cli, web: Path) -> None:
    assert cli("pod", "list", "--json").document == []
    cli("pod", "run", str(web))
    header, row = cli("pod", "list").lines
    assert header.split()[:2] == ["NAME", "STATE"]
    assert row.split()[:3] == ["web", "running", "1/1"]
    assert [pod["id"] for pod in cli("pod", "list", "--json").document] == ["web"]


def test_a_status_shows_the_pod_and_its_containers(cli: Cli, web: Path) -> None:
    cli("pod", "run", str(web))
    shown = cli("pod", "status", "web").out
    assert "hypervisor" in shown
    assert "sleep 1000" in shown


def test_a_pod_file_may_come_from_standard_input(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    import io
    import sys

    text = json.dumps({"id": "piped"}).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert cli("pod", "create", "-").out == "piped created\n"


def test_a_unique_prefix_names_a_pod(cli: Cli, web: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text('id = "webmail"')
    cli("pod", "create", str(web))
    cli("pod", "create", str(other))
    assert cli("pod", "status", "webm", "--json").document["id"] == "webmail"
    assert cli("pod", "status", "web", "--json").document["id"] == "web"
    result = cli("pod", "status", "we", "--json")
    assert result.status == 1
    assert result.document == {
        "error": {
            "kind": "ambiguous-id",
            "message": "pod id 'we' fits 2 (web, webmail); give more of it",
        }
    }


def test_an_unknown_pod_is_one_sentence(cli: Cli) -> None:
    result = cli("pod", "status", "ghost")
    assert (result.status, result.out) == (1, "")
    assert result.err == ("error: there is no pod 'ghost'; list what there is to see the ids\n")


@pytest.mark.parametrize(
    ("verbs", "kind"),
    [
        (("start",), "wrong-state"),
        (("resume",), "wrong-state"),
        (("pause", "pause"), "wrong-state"),
        (("stop", "stop"), "wrong-state"),
        (("stop", "pause"), "wrong-state"),
    ],
)
def test_a_wrong_state_is_refused_and_changes_nothing(
    cli: Cli, web: Path, verbs: tuple[str, ...], kind: str
) -> None:
    cli("pod", "run", str(web))
    *before, last = verbs
    for verb in before:
        assert cli("pod", verb, "web").status == 0
    status = cli("pod", "status", "web", "--json").document
    result = cli("pod", last, "web", "--json")
    assert result.status == 1
    assert result.document["error"]["kind"] == kind
    assert cli("pod", "status", "web", "--json").document == status


def test_a_second_pod_of_the_same_id_is_refused(cli: Cli, web: Path) -> None:
    cli("pod", "create", str(web))
    result = cli("pod", "run", str(web), "--json")
    assert result.status == 1
    assert result.document["error"]["kind"] == "already-exists"
    assert cli("pod", "status", "web", "--json").document["state"] == "ready"


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("id =", "file", "is not valid TOML"),
        ('id = "w/b"', "invalid-id", "is not a legal pod id"),
        ('id = "web"\nspeed = 3', "invalid-config", "speed is not a known key"),
        ('id = "web"\nvm_config = {memory = true}', "invalid-config", "vm_config.memory must be"),
        (
            """
            id = "web"
            hypervisor_type = "qemu"
            hypervisor_config = {kernel_path = "bad.toml", initrd_path = "bad.toml"}
            containers = [{id = "main", rootfs = "nowhere", cmd = {args = ["a"]}}]
            """,
            "file",
            "/nowhere' of container 'main' does not exist",
        ),
        ('id = "web"\nhypervisor_type = "qemu"', "guest-not-built", "run: vctui guest build"),
        (
            """
            id = "web"
            hypervisor_type = "qemu"
            [hypervisor_config]
            hypervisor_path = "qemu-nowhere"
            kernel_path = "bad.toml"
            initrd_path = "bad.toml"
            """,
            "missing-program",
            "qemu-nowhere",
        ),
    ],
)
def test_a_bad_pod_file_is_one_sentence_and_leaves_nothing(
    cli: Cli, tmp_path: Path, text: str, kind: str, said: str
) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(text)
    for verb in ("create", "run"):
        result = cli("pod", verb, str(file), "--json")
        assert result.status == 1
        assert result.document["error"]["kind"] == kind
        assert said in result.document["error"]["message"]
        assert cli("pod", "list", "--json").document == []
        assert "\n" not in cli("pod", verb, str(file)).err.rstrip("\n")


def test_a_missing_pod_file_is_one_sentence(cli: Cli) -> None:
    result = cli("pod", "run", "/nowhere/web.toml")
    assert result.status == 1
    assert result.err == (
        "error: cannot read /nowhere/web.toml: No such file or directory; name a readable file\n"
    )


def test_read_only_refuses_every_change_and_allows_looking(cli: Cli, web: Path) -> None:
    cli("pod", "run", str(web))
    for argv in (
        ("pod", "create", str(web)),
        ("pod", "run", str(web)),
        *(("pod", verb, "web") for verb in ("start", "stop", "pause", "resume", "delete")),
        ("container", "kill", "web", "main"),
        ("container", "exec", "web", "main", "--", "true"),
        ("container", "attach", "web", "main"),
    ):
        result = cli("--read-only", "--json", *argv)
        assert result.status == 1, argv
        assert result.document["error"]["kind"] == "read-only", argv
    assert cli("pod", "status", "web", "--json", "--read-only").document["state"] == "running"
    assert cli("pod", "list", "--read-only").status == 0


def test_one_hundred_pods_are_listed(cli: Cli, tmp_path: Path) -> None:
    for number in range(100):
        file = tmp_path / f"{number}.toml"
        file.write_text(f'id = "pod-{number:03}"')
        assert cli("pod", "create", str(file)).status == 0
    assert len(cli("pod", "list").lines) == 101


@pytest.mark.parametrize("words", [("pod", "schema"), ("--json", "pod", "schema")])
def test_the_schema_is_printed_as_json_and_touches_nothing(
    cli: Cli, tmp_path: Path, words: tuple[str, ...]
) -> None:
    before = sorted(tmp_path.rglob("*"))
    schema = cli(*words).document
    assert schema["required"] == ["id"]
    assert schema["$defs"]["HypervisorType"]["enum"] == ["mock", "qemu"]
    assert sorted(tmp_path.rglob("*")) == before


def test_trace_tells_where_the_time_went(cli: Cli, web: Path) -> None:
    lines = cli("pod", "run", "--trace", str(web)).lines
    assert lines[0] == "web"
    steps = [line.partition("  host ")[0].rstrip() for line in lines[2:]]
    assert steps[0] == "start the command"
    assert "run pod web" in steps
    assert steps.index("run pod web") < steps.index("  container main")
    document = cli("pod", "restart", "--trace", "web", "--json").document
    assert (document["id"], document["state"]) == ("web", "running")
    assert document["trace"]["operation"] == "restart"
    assert {"restart pod web", "start the machine"} <= {
        step["name"] for step in document["trace"]["steps"]
    }
    assert "trace" not in cli("pod", "restart", "web", "--json").document


def test_trace_tells_how_far_a_start_came_that_fails(cli: Cli, web: Path) -> None:
    with web.open("a") as file:
        file.write('[[hooks.pre_start]]\npath = "/bin/false"\n')
    failed = cli("pod", "run", "--trace", str(web))
    assert failed.status == 1
    error, *steps = failed.err.splitlines()
    assert error.startswith("error: ")
    assert any("pre-start hooks" in step and " ms" in step for step in steps)
    assert not any("container main" in step for step in steps)
    assert cli("pod", "run", str(web)).err.count("\n") < len(steps)
