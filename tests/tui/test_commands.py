"""What the keys do: dialogs first, then the engine's call, then the outcome."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.widgets import Input

from tests.fakes.fake_runtime import FakeRuntime, make_pod
from tests.tui.conftest import Console, OpenConsole
from vctui.errors import CommandFailed
from vctui.model.doctor import Check
from vctui.model.state import State
from vctui.settings import Settings
from vctui.tui.screens.confirm import Confirm
from vctui.tui.screens.terminal import TerminalScreen
from vctui.tui.terminal.view import TerminalView

POD_FILE = """
id = "mine"
vm_config = { vcpus = 2, memory = 512 }
[[containers]]
id = "first"
rootfs = "busybox"
cmd = { args = ["/bin/sh"] }
"""


def fleet() -> FakeRuntime:
    return FakeRuntime(
        [
            make_pod("web", State.RUNNING, ["nginx", "sidecar"]),
            make_pod("db", State.READY),
            make_pod("old", State.STOPPED),
        ]
    )


async def idle(console: Console) -> None:
    await console.until(lambda: not console.app.commands.operations)


@pytest.mark.parametrize(
    ("pod_id", "key", "call", "command"),
    [
        ("db", "u", "start_pod", "vctui pod start db"),
        ("web", "p", "pause_pod", "vctui pod pause web"),
    ],
)
async def test_what_harms_nothing_is_done_at_once(
    open_console: OpenConsole, pod_id: str, key: str, call: str, command: str
) -> None:
    async with open_console(fleet()) as console:
        await console.select(pod_id)
        await console.press(key)
        await console.until(lambda: console.runtime.called(call) == [(pod_id,)])
        await idle(console)
        await console.sees(f"$ {command}")


@pytest.mark.parametrize(
    ("key", "call"), [("S", "stop_pod"), ("r", "restart_pod"), ("D", "delete_pod")]
)
async def test_what_destroys_asks_first(open_console: OpenConsole, key: str, call: str) -> None:
    async with open_console(fleet()) as console:
        for answer in ("enter", "escape", "n", "q"):
            await console.press(key)
            await console.until(lambda: isinstance(console.app.screen, Confirm))
            await console.press(answer)
            await console.until(lambda: console.app.screen is console.main)
        assert not console.runtime.called(call)
        await console.press(key)
        await console.until(lambda: isinstance(console.app.screen, Confirm))
        await console.press("tab", "enter")
        await console.until(lambda: console.runtime.called(call) == [("web",)])


async def test_a_pause_is_taken_back_with_the_same_key(open_console: OpenConsole) -> None:
    async with open_console(fleet()) as console:
        await console.press("p")
        await console.sees("◐ paused")
        await console.until(lambda: "resume" in console.footer)
        await console.press("p")
        await console.until(lambda: console.runtime.called("resume_pod") == [("web",)])


async def test_marked_pods_are_changed_together(open_console: OpenConsole) -> None:
    runtime = FakeRuntime([make_pod(f"pod-{n}") for n in range(6)])
    async with open_console(runtime) as console:
        await console.press("space", "down", "down", "v")
        await console.sees("4 marked")
        await console.press("D")
        await console.sees("pod-3")
        await console.press("y")
        await console.until(lambda: len(runtime.pods) == 2)
        assert {args[0] for args in runtime.called("delete_pod")} == {f"pod-{n}" for n in range(4)}
        await console.until(lambda: not console.main.pods.marked)


async def test_the_command_that_is_shown_is_of_the_marked_pod(open_console: OpenConsole) -> None:
    runtime = FakeRuntime([make_pod("pod-0"), make_pod("pod-1")])
    async with open_console(runtime) as console:
        await console.press("space")
        await console.until(lambda: console.main.context.pod == runtime.pods["pod-1"])
        await console.press("D")
        await console.sees("$ vctui pod delete pod-0")
        assert "delete pod-1" not in console.text
        await console.press("y")
        await console.until(lambda: "pod-0" not in runtime.pods)
        assert console.main.status.command == "vctui pod delete pod-0"


async def test_one_failure_of_many_does_not_stop_the_others(open_console: OpenConsole) -> None:
    runtime = FakeRuntime([make_pod("a"), make_pod("b")])
    async with open_console(runtime) as console:
        await console.press("A", "D")
        await console.until(lambda: isinstance(console.app.screen, Confirm))
        runtime.set_pod(None, "a")  # somebody else was quicker
        await console.press("y")
        await console.until(lambda: not runtime.pods)
        assert console.notices == []


async def test_long_work_shows_its_phase_and_leaves_the_keys_alone(
    open_console: OpenConsole,
) -> None:
    runtime = fleet()
    let_go = runtime.hold("start_pod")
    async with open_console(runtime) as console:
        await console.select("db")
        await console.press("u")
        await console.sees("start db: talking to the fake")
        await console.sees("◌ starting")
        await console.press("5", "down")
        await console.sees("Machine")
        let_go.set()
        await idle(console)
        await console.until(lambda: "talking" not in console.text)


# --- running a pod file


async def test_a_pod_file_is_chosen_and_run(open_console: OpenConsole, settings: Settings) -> None:
    settings.pods_dir.mkdir()
    (settings.pods_dir / "mine.toml").write_text(POD_FILE)
    async with open_console(FakeRuntime()) as console:
        await console.press("R")
        await console.sees("2 vCPU, 512 MiB")
        await console.sees("hello  demo")
        await console.press("enter")
        await console.until(lambda: console.runtime.called("run_pod") == [("mine",)])
        await console.until(lambda: console.main.context.pod is not None)
        await idle(console)
        await console.sees("$ vctui pod run")


async def test_a_broken_pod_file_says_what_is_wrong(
    open_console: OpenConsole, settings: Settings
) -> None:
    settings.pods_dir.mkdir()
    (settings.pods_dir / "broken.toml").write_text(POD_FILE.replace("args", "argz"))
    async with open_console(FakeRuntime()) as console:
        await console.press("R")
        await console.sees("argz")
        await console.press("enter")
        await console.pilot.pause()
        assert console.app.screen is not console.main
        assert not console.runtime.called("run_pod")


async def test_a_manifest_is_shown_with_what_of_it_has_no_effect(
    open_console: OpenConsole, settings: Settings
) -> None:
    settings.pods_dir.mkdir()
    (settings.pods_dir / "market.yaml").write_text(
        "{apiVersion: v1, kind: Pod, metadata: {name: market},"
        " spec: {nodeName: x, containers: [{name: main, image: shop}]}}"
    )
    async with open_console(FakeRuntime()) as console:
        await console.press("R")
        await console.sees("spec.nodeName is not")
        await console.press("enter")
        await console.until(lambda: console.runtime.called("run_pod") == [("market",)])


async def test_a_path_can_be_typed(open_console: OpenConsole, tmp_path: Path) -> None:
    path = tmp_path / "elsewhere.toml"
    path.write_text(POD_FILE)
    async with open_console(FakeRuntime()) as console:
        await console.press("R")
        await console.sees("hello  demo")
        await console.press("tab")
        field = console.app.screen.query_one(Input)
        field.value = str(tmp_path / "gone.toml")
        await console.sees("cannot read")
        field.value = str(path)
        await console.press("enter")
        await console.until(lambda: console.runtime.called("run_pod") == [("mine",)])


async def test_an_id_that_is_taken_is_refused(
    open_console: OpenConsole, settings: Settings
) -> None:
    settings.pods_dir.mkdir()
    (settings.pods_dir / "mine.toml").write_text(POD_FILE)
    async with open_console(FakeRuntime([make_pod("mine")])) as console:
        await console.press("R")
        await console.sees("A pod of this id is there already.")
        await console.press("enter")
        await console.until(lambda: console.notices)
        assert "pod 'mine' exists already" in console.notices[0]
        assert not console.runtime.called("run_pod")


# --- containers


async def test_kill_asks_for_the_signal_and_for_whom(open_console: OpenConsole) -> None:
    async with open_console(fleet()) as console:
        await console.press("K")
        await console.sees("$ vctui container kill web nginx --signal TERM")
        await console.press("down", "space")
        await console.sees("--signal KILL --all")
        await console.press("enter")
        await console.until(lambda: console.runtime.called("kill_container"))
        assert console.runtime.called("kill_container") == [("web", "nginx", 9, True)]


async def test_keys_in_the_container_pane_mean_the_container(open_console: OpenConsole) -> None:
    async with open_console(fleet()) as console:
        await console.press("tab", "down", "S")
        await console.sees("web/sidecar")
        await console.press("y")
        await console.until(
            lambda: console.runtime.called("stop_container") == [("web", "sidecar")]
        )
        await console.sees("■ stopped")
        await console.until(lambda: "start" in console.footer)
        await console.press("u")
        await console.until(
            lambda: console.runtime.called("start_container") == [("web", "sidecar")]
        )
        assert not console.runtime.called("stop_pod")


async def open_shell(console: Console) -> TerminalView:
    await console.press("s")
    await console.until(lambda: isinstance(console.app.screen, TerminalScreen))
    await console.sees("/ # ")
    return console.app.screen.query_one(TerminalView)


async def test_a_shell_takes_every_key_and_ends_with_exit(open_console: OpenConsole) -> None:
    async with open_console(fleet()) as console:
        await open_shell(console)
        assert console.runtime.called("enter_container") == [("web", "nginx", ("/bin/sh",))]
        shell = console.runtime.terminals[-1]
        await console.press("q", "ctrl+c", "tab", "escape", "colon", "ctrl+q", "question_mark")
        await console.until(lambda: bytes(shell.written) == b"q\x03\t\x1b:\x11?")
        await console.press("enter", *"exit", "enter")
        await console.until(lambda: console.app.screen is console.main)


async def test_what_is_typed_while_a_shell_opens_is_not_lost(open_console: OpenConsole) -> None:
    runtime = fleet()
    let_go = runtime.hold("enter_container")
    async with open_console(runtime) as console:
        await console.press("s", "l", "s", "D", "enter")
        await console.sees("opening…")
        let_go.set()
        await console.until(lambda: runtime.terminals)
        await console.until(lambda: bytes(runtime.terminals[-1].written) == b"lsD\r")
        assert len(runtime.called("enter_container")) == 1


async def test_a_shell_that_does_not_start_is_reported(open_console: OpenConsole) -> None:
    runtime = fleet()
    runtime.fail("enter_container", CommandFailed("/bin/sh is not there; try e", exit_code=127))
    async with open_console(runtime) as console:
        await console.press("s")
        await console.until(lambda: console.notices == ["/bin/sh is not there; try e"])
        assert console.app.screen is console.main


async def test_a_shell_that_takes_too_long_can_be_left(open_console: OpenConsole) -> None:
    runtime = fleet()
    runtime.hold("enter_container")
    async with open_console(runtime) as console:
        await console.press("s")
        await console.sees("opening…")
        await console.press("escape")
        await console.until(lambda: console.app.screen is console.main)


async def test_a_detached_shell_goes_on_and_is_found_again(open_console: OpenConsole) -> None:
    runtime = fleet()
    runtime.processes = b'[{"pid": 1, "args": "init"}, {"pid": 9, "args": "/bin/sh"}]'
    async with open_console(runtime) as console:
        await open_shell(console)
        shell = runtime.terminals[-1]
        await console.press("ctrl+p", "ctrl+q")
        await console.until(lambda: console.app.screen is console.main)
        assert shell.detached
        assert "the process goes on" in console.notices[0]
        await console.sees("/bin/sh  ⇄")
        await console.press("tab", "tab", "down", "a")
        await console.until(lambda: isinstance(console.app.screen, TerminalScreen))
        assert runtime.called("attach")[-1] == ("web", "nginx", "token-1")


async def test_the_shell_follows_the_size_of_the_screen(open_console: OpenConsole) -> None:
    async with open_console(fleet(), size=(80, 24)) as console:
        await open_shell(console)
        shell = console.runtime.terminals[-1]
        await console.pilot.resize_terminal(100, 30)
        await console.until(lambda: shell.sizes and shell.sizes[-1] == (28, 98))


async def test_a_typed_command_runs_in_the_container(open_console: OpenConsole) -> None:
    async with open_console(fleet()) as console:
        await console.press("e")
        await console.sees("Run a command in web/nginx")
        await console.press(*"echo 'a b", "enter")
        await console.sees("That is no command line")
        await console.press("apostrophe", "enter")
        await console.until(lambda: console.runtime.called("enter_container"))
        assert console.runtime.called("enter_container") == [("web", "nginx", ("echo", "a b"))]


async def test_a_process_that_fails_says_so(open_console: OpenConsole) -> None:
    async with open_console(fleet()) as console:
        await open_shell(console)
        shell = console.runtime.terminals[-1]
        runtime_loop = console.runtime._loop
        assert runtime_loop is not None
        runtime_loop.call_soon_threadsafe(shell.end, 3)
        await console.until(lambda: console.app.screen is console.main)
        await console.until(lambda: console.notices == ["The process has ended: exited 3."])


# --- the serial console


async def test_keys_reach_the_guest_only_after_asking(open_console: OpenConsole) -> None:
    async with open_console(fleet()) as console:
        await console.sees("web: agent ready")
        guest = console.runtime.consoles[-1]
        await console.press("shift+tab", "x")
        assert not guest.written
        await console.press("c", "x", "q")
        await console.until(lambda: bytes(guest.written) == b"xq")
        assert console.footer == {"leave the console"}
        await console.press("ctrl+p", "ctrl+q")
        await console.until(lambda: "quit" in console.footer)
        assert guest.detached
        await console.until(lambda: console.runtime.consoles[-1] is not guest)
        await console.sees("web: agent ready")


async def test_a_console_is_left_when_another_pod_is_selected(open_console: OpenConsole) -> None:
    async with open_console(fleet()) as console:
        await console.sees("web: agent ready")
        guest = console.runtime.consoles[-1]
        await console.select("old")
        await console.sees("console log of old/")
        await console.until(lambda: guest.detached)


# --- the host


async def test_the_doctor_tells_what_is_missing(open_console: OpenConsole) -> None:
    runtime = fleet()
    runtime.checks = (
        Check(name="QEMU", ok=True, detail="8.2"),
        Check(name="KVM", ok=None, detail="guests hang", remedy="TCG is used"),
    )
    async with open_console(runtime) as console:
        await console.press("H")
        await console.sees("✓ QEMU  8.2")
        await console.sees("→ TCG is used")
        await console.press("escape")
        assert console.app.screen is console.main


async def test_output_of_a_process_without_a_terminal_stays_in_its_lines(
    open_console: OpenConsole,
) -> None:
    async with open_console(fleet()) as console:
        await console.press("a")
        await console.until(lambda: isinstance(console.app.screen, TerminalScreen))
        process = console.runtime.terminals[-1]
        loop = console.runtime._loop
        assert loop is not None
        loop.call_soon_threadsafe(process.say, b"one\ntwo\r\nthree\n")
        await console.sees("three")
        rows = [row.strip("│ ") for row in console.text.split("\n")]
        assert rows[1:4] == ["/ # one", "two", "three"]
        await console.press("x", "enter")
        await console.until(lambda: bytes(process.written) == b"x\n")
