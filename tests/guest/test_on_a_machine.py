"""The whole agent in a real guest: one machine for all tests here, a container for each."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.guest.client import GUEST, HEALTH, CallError, Client, exec_request
from tests.guest.machine import MAC, SHARED, Machine, booted, create_sandbox, spec
from vctui.wire import ttrpc
from vctui.wire.pb import agent_pb2 as agent
from vctui.wire.pb import guest_pb2, oci_pb2, types_pb2

pytestmark = [pytest.mark.vm, pytest.mark.timeout(240)]

SLEEPER = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done")
numbers = itertools.count(10)
Starter = Callable[..., str]


@pytest.fixture(scope="module")
def machine(guest_cache: Path) -> Iterator[Machine]:
    with booted(guest_cache, "agent.log=debug") as machine:
        client = machine.connect()
        create_sandbox(client, dns=["nameserver 10.0.2.3"])
        client.close()
        yield machine


@pytest.fixture
def client(machine: Machine) -> Iterator[Client]:
    client = machine.connect()
    yield client
    client.close()


@pytest.fixture
def start(machine: Machine, client: Client) -> Iterator[Starter]:
    """Make a container and start it; removed after the test."""
    made: list[str] = []

    def begin(*args: str, change: Callable[[Any], None] = lambda _: None, **process: Any) -> str:
        container_id = f"c{next(numbers)}"
        machine.rootfs(container_id)
        wanted = agent.CreateContainerRequest(
            container_id=container_id, OCI=spec(container_id, *args, **process)
        )
        change(wanted)
        client.call("CreateContainer", wanted)
        made.append(container_id)
        client.call("StartContainer", agent.StartContainerRequest(container_id=container_id))
        return container_id

    yield begin
    for container_id in made:
        with contextlib.suppress(CallError, OSError):  # a test may have removed it, or left
            client.call("RemoveContainer", agent.RemoveContainerRequest(container_id=container_id))


def stdout(container_id: str, exec_id: str = "", size: int = 65536) -> agent.ReadStreamRequest:
    return agent.ReadStreamRequest(container_id=container_id, exec_id=exec_id, len=size)


def test_it_says_who_it_is(client: Client) -> None:
    assert client.call("Check", b"", service=HEALTH).status == 1
    assert client.call("Version", b"", service=HEALTH).grpc_version == "0.0.1"
    details = client.call("GetGuestDetails", agent.GuestDetailsRequest(mem_block_size=True))
    assert details.agent_details.init_daemon
    assert details.mem_block_size_bytes == 128 * 1024 * 1024


def test_the_sandbox_has_its_name_clock_and_entropy(client: Client, start: Starter) -> None:
    client.call("SetGuestDateTime", agent.SetGuestDateTimeRequest(Sec=1_800_000_000, Usec=7))
    client.call("ReseedRandomDev", agent.ReseedRandomDevRequest(data=os.urandom(64)))
    container = start(*SLEEPER)
    assert client.run(container, "name", "hostname") == b"pod-1\n"
    clock = int(client.run(container, "clock", "date", "+%s"))
    assert 0 <= clock - 1_800_000_000 < 120
    client.call("SetGuestDateTime", agent.SetGuestDateTimeRequest(Sec=int(time.time())))


def test_a_container_lives_with_its_streams_and_its_exit_status(
    client: Client, start: Starter
) -> None:
    container = start("sh", "-c", "echo out; echo err >&2; read x; echo got $x; exit 3")
    assert client.call("ReadStdout", stdout(container)).data == b"out\n"
    assert client.call("ReadStderr", stdout(container)).data == b"err\n"
    waiting = client.start("WaitProcess", agent.WaitProcessRequest(container_id=container))
    line = agent.WriteStreamRequest(container_id=container, data=b"hello\n")
    assert client.call("WriteStdin", line).len == 6
    assert client.read_all(container) == b"got hello\n"
    assert waiting.result().status == 3
    assert client.wait(container) == 3


def test_closing_stdin_ends_a_reader(client: Client, start: Starter) -> None:
    container = start("cat")
    client.call("WriteStdin", agent.WriteStreamRequest(container_id=container, data=b"abc"))
    client.call("CloseStdin", agent.CloseStdinRequest(container_id=container))
    assert client.read_all(container) == b"abc"
    assert client.wait(container) == 0


def test_exec_tells_success_failure_and_signals_apart(client: Client, start: Starter) -> None:
    container = start(*SLEEPER)
    for exec_id, command, code in (
        ("zero", "exit 0", 0),
        ("seven", "exit 7", 7),
        ("killed", "kill -9 $$", 137),
    ):
        client.call("ExecProcess", exec_request(container, exec_id, "sh", "-c", command))
        assert client.wait(container, exec_id) == code


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("no-such-command", "executable file `no-such-command` not found"),
        ("/etc/passwd", "executable file `/etc/passwd`: permission denied"),
        ("/etc", "executable file `/etc`: permission denied"),
        ("/bad-format", "executable file `/bad-format`: permission denied (exec format error)"),
        ("/bad-interpreter", "executable file `/bad-interpreter` not found"),
        ("", "executable file `` not found"),
    ],
)
def test_a_command_that_cannot_be_executed_is_an_error_and_no_process(
    machine: Machine, client: Client, start: Starter, command: str, said: str
) -> None:
    container = start(*SLEEPER)
    rootfs = machine.share / container / "rootfs"
    for name, text in (("bad-format", "no program"), ("bad-interpreter", "#!/none\n")):
        (rootfs / name).write_text(text)
        (rootfs / name).chmod(0o755)
    with pytest.raises(CallError) as caught:
        client.call("ExecProcess", exec_request(container, "bad", command))
    assert caught.value.code == ttrpc.INTERNAL
    assert said in caught.value.message
    with pytest.raises(CallError) as caught:
        client.wait(container, "bad")
    assert caught.value.code == ttrpc.NOT_FOUND


def test_a_container_whose_command_cannot_be_executed_leaves_nothing(
    machine: Machine, client: Client, start: Starter
) -> None:
    with pytest.raises(CallError, match="executable file `nope` not found"):
        start("nope")
    with pytest.raises(CallError, match="permission denied"):
        start("/etc/passwd")


def test_a_missing_working_directory_is_another_error(client: Client, start: Starter) -> None:
    container = start(*SLEEPER)
    with pytest.raises(CallError, match="working directory") as caught:
        client.call("ExecProcess", exec_request(container, "bad", "true", Cwd="/nowhere"))
    assert "executable file" not in caught.value.message


def test_users_are_looked_up_in_the_container(client: Client, start: Starter) -> None:
    container = start(*SLEEPER)
    user = exec_request(container, "user", "id")
    user.string_user.uid = "user"
    client.call("ExecProcess", user)
    assert client.read_all(container, "user") == b"uid=1000(user) gid=100(users)\n"
    numbers = exec_request(container, "numbers", "id")
    numbers.string_user.uid, numbers.string_user.gid = "5:6", "7"
    numbers.string_user.additionalGids.append("8")
    client.call("ExecProcess", numbers)
    assert client.read_all(container, "numbers").strip() == b"uid=5 gid=7 groups=8"
    stranger = exec_request(container, "stranger", "id")
    stranger.string_user.uid = "stranger"
    with pytest.raises(CallError, match="no user 'stranger'"):
        client.call("ExecProcess", stranger)


def test_a_terminal_has_its_size_and_ends_with_its_process(client: Client, start: Starter) -> None:
    container = start(*SLEEPER)
    script = 'stty size; read x; echo "<$x>"; stty size; sleep 100 & exit 4'
    size = oci_pb2.Box(Height=33, Width=77)
    client.call(
        "ExecProcess",
        exec_request(container, "tty", "sh", "-c", script, Terminal=True, ConsoleSize=size),
    )
    first = b""
    while not first.endswith(b"\n"):
        first += client.call("ReadStdout", stdout(container, "tty")).data
    assert first == b"33 77\r\n"
    client.call(
        "TtyWinResize",
        agent.TtyWinResizeRequest(container_id=container, exec_id="tty", row=10, column=20),
    )
    client.call(
        "WriteStdin", agent.WriteStreamRequest(container_id=container, exec_id="tty", data=b"yo\r")
    )
    assert client.wait(container, "tty") == 4
    # the sleeping grandchild holds the terminal, but the end comes
    assert client.read_all(container, "tty") == b"yo\r\n<yo>\r\n10 20\r\n"
    with pytest.raises(CallError) as caught:
        client.call(
            "TtyWinResize", agent.TtyWinResizeRequest(container_id=container, row=10, column=20)
        )
    assert caught.value.code == ttrpc.UNAVAILABLE


def test_a_container_with_a_terminal(client: Client, start: Starter) -> None:
    container = start("sh", "-c", "tty; exit 5", Terminal=True)
    assert client.read_all(container) == b"/dev/pts/0\r\n"
    assert client.wait(container) == 5


def test_sigterm_kills_a_first_process_without_handler(client: Client, start: Starter) -> None:
    container = start("sleep", "1000")
    client.call("SignalProcess", agent.SignalProcessRequest(container_id=container, signal=15))
    assert client.wait(container) == 137
    # again: it is gone, which is what was asked for
    client.call("SignalProcess", agent.SignalProcessRequest(container_id=container, signal=15))


def test_sigterm_reaches_a_handler(client: Client, start: Starter) -> None:
    container = start("sh", "-c", "trap 'exit 42' TERM; echo ready; while :; do sleep 0.1; done")
    assert client.call("ReadStdout", stdout(container)).data == b"ready\n"
    client.call("SignalProcess", agent.SignalProcessRequest(container_id=container, signal=15))
    assert client.wait(container) == 42


def test_signals_for_all_processes(client: Client, start: Starter) -> None:
    container = start(*SLEEPER)
    for exec_id in ("a", "b"):
        script = "trap 'exit 9' USR1; echo ready; while :; do sleep 0.1; done"
        client.call("ExecProcess", exec_request(container, exec_id, "sh", "-c", script))
        assert client.call("ReadStdout", stdout(container, exec_id)).data == b"ready\n"
    client.call(
        "SignalContainer",
        guest_pb2.SignalContainerRequest(container_id=container, signal=10),
        service=GUEST,
    )
    assert [client.wait(container, exec_id) for exec_id in ("a", "b")] == [9, 9]
    client.call("ExecProcess", exec_request(container, "c", "sleep", "1000"))
    client.call("SignalProcess", agent.SignalProcessRequest(container_id=container, signal=9))
    assert client.wait(container) == 137
    assert client.wait(container, "c") == 137


def test_a_paused_container_stands_still(client: Client, start: Starter) -> None:
    container = start("sh", "-c", "while :; do echo tick; sleep 0.1; done")
    assert client.call("ReadStdout", stdout(container)).data
    client.call("PauseContainer", agent.PauseContainerRequest(container_id=container))
    waiting = client.start("ReadStdout", stdout(container))
    while waiting.answered and waiting.result().data:  # what it wrote before
        waiting = client.start("ReadStdout", stdout(container))
    with pytest.raises(CallError, match="is paused"):
        client.call("ExecProcess", exec_request(container, "no", "true"))
    assert not waiting.answered
    client.call("ResumeContainer", agent.ResumeContainerRequest(container_id=container))
    assert b"tick" in waiting.result().data


def test_a_paused_container_can_be_removed(client: Client, start: Starter) -> None:
    container = start(*SLEEPER)
    client.call("PauseContainer", agent.PauseContainerRequest(container_id=container))
    client.call("RemoveContainer", agent.RemoveContainerRequest(container_id=container, timeout=9))
    with pytest.raises(CallError) as caught:
        client.wait(container)
    assert caught.value.code == ttrpc.INVALID_ARGUMENT


def test_processes_are_listed_as_the_container_sees_them(client: Client, start: Starter) -> None:
    container = start("sh", "-c", "sleep 1000 & wait")
    sleeping = (1, 2)

    def listed(**how: Any) -> bytes:
        request = guest_pb2.ListProcessesRequest(container_id=container, **how)
        return client.call("ListProcesses", request, service=GUEST).process_list

    deadline = time.monotonic() + 30
    found: list[dict[str, Any]] = []
    while len(found) < 2 or found[1]["args"] != "sleep 1000":
        assert time.monotonic() < deadline, found
        found = json.loads(listed(format="json"))
    assert tuple(entry["pid"] for entry in found) == sleeping
    assert [entry["ppid"] for entry in found] == [0, 1]
    assert found[1]["user"] == "root"
    heading, *rows = listed().decode().splitlines()
    assert heading.split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert len(rows) == 2
    assert (
        listed(args=["-o", "pid=,args="]).split()
        == b"1 sh -c sleep 1000 & wait 2 sleep 1000".split()
    )
    with pytest.raises(CallError, match="--frobnicate") as caught:
        listed(args=["--frobnicate"])
    assert caught.value.code == ttrpc.INVALID_ARGUMENT


def test_limits_and_statistics(client: Client, start: Starter) -> None:
    container = start(*SLEEPER)
    limits = oci_pb2.LinuxResources(
        Memory=oci_pb2.LinuxMemory(Limit=32 << 20), Pids=oci_pb2.LinuxPids(Limit=50)
    )
    client.call(
        "UpdateContainer",
        agent.UpdateContainerRequest(container_id=container, resources=limits),
    )
    request = agent.StatsContainerRequest(container_id=container)
    stats = client.call("StatsContainer", request).cgroup_stats
    assert stats.memory_stats.usage.limit == 32 << 20
    assert stats.pids_stats.limit == 50
    assert stats.pids_stats.current >= 1
    assert stats.cpu_stats.cpu_usage.total_usage > 0


def test_running_out_of_memory_is_told(client: Client, start: Starter) -> None:
    def limit(request: Any) -> None:
        request.OCI.linux.Resources.Memory.Limit = 16 << 20
        request.OCI.linux.Resources.Memory.Swap = 16 << 20

    waiting = client.start("GetOOMEvent", b"")
    container = start("sh", "-c", "head -c 64m /dev/zero | tail -c 64m | cat", change=limit)
    assert waiting.result().container_id == container


def test_a_saved_guest_has_a_crun_and_a_control_group_for_its_first_container(
    machine: Machine, client: Client, start: Starter
) -> None:
    usual = spec("c").linux.Resources.Devices
    for _ in range(2):  # the second time there is nothing to do
        client.call("Prepare", guest_pb2.PrepareRequest(devices=usual), service=GUEST)

    def node(request: Any) -> None:
        request.OCI.linux.Devices.add(Path="/dev/none", Type="c", Major=240, Minor=7)

    def allowed(request: Any) -> None:
        node(request)
        rules = request.OCI.linux.Resources.Devices
        rules.add(Allow=True, Type="c", Major=240, Minor=7, Access="r")

    with_a_terminal = start("sleep", "1000", Terminal=True, change=allowed)
    first = start("sh", "-c", "read x; echo got $x; exit 3", change=node)
    second = start(*SLEEPER, change=node)
    look = ("sh", "-c", "cut -d / -f 3 /proc/1/cgroup; cat /dev/none 2>&1 | sed 's/.*: //'")
    there, refused = "No such device or address", "Operation not permitted"
    for container, group, says in (
        (with_a_terminal, with_a_terminal, there),
        (first, "_first", refused),
        (second, second, refused),
    ):
        assert client.run(container, "look", *look).decode().splitlines() == [group, says]
    stats = client.call("StatsContainer", agent.StatsContainerRequest(container_id=first))
    assert stats.cgroup_stats.pids_stats.current == 1
    client.call("WriteStdin", agent.WriteStreamRequest(container_id=first, data=b"hello\n"))
    assert client.read_all(first) == b"got hello\n"
    assert client.wait(first) == 3
    client.call("RemoveContainer", agent.RemoveContainerRequest(container_id=first))
    assert client.run(second, "groups", "ls", "/sys/fs/cgroup/vctui/_first") == b""
    assert re.findall(r"container (\S+) is of the crun that waited", machine.log()) == [first]


def test_two_containers_share_a_name_and_a_pid_namespace(client: Client, start: Starter) -> None:
    def shared(request: Any) -> None:
        request.sandbox_pidns = True

    first = start(*SLEEPER, change=shared)
    second = start(*SLEEPER, change=shared)
    names = [client.run(each, "ns", "readlink", "/proc/self/ns/pid") for each in (first, second)]
    assert names[0] == names[1]


def test_output_is_given_again_to_the_next_client(
    machine: Machine, client: Client, start: Starter
) -> None:
    container = start("sh", "-c", "read x; echo precious; read y")
    client.start("ReadStdout", stdout(container))
    client.call("Check", b"", service=HEALTH)  # the read waits in the guest now
    client.close()
    second = machine.connect()
    try:
        second.call("WriteStdin", agent.WriteStreamRequest(container_id=container, data=b"x\n"))
        assert second.call("ReadStdout", stdout(container)).data == b"precious\n"
        second.close()
        second = machine.connect()
        assert second.call("ReadStdout", stdout(container)).data == b"precious\n"
        second.call("WriteStdin", agent.WriteStreamRequest(container_id=container, data=b"y\n"))
        assert second.call("ReadStdout", stdout(container)).data == b""
    finally:
        second.call("RemoveContainer", agent.RemoveContainerRequest(container_id=container))
        second.close()


def test_no_output_is_lost_when_clients_come_and_go(
    machine: Machine, client: Client, start: Starter
) -> None:
    container = start("seq", "1", "60000")
    pieces = [client.call("ReadStdout", stdout(container, size=8192)).data for _ in range(3)]
    for _ in range(3):
        client.start("ReadStdout", stdout(container, size=8192))
        client.close()  # while the answer is on its way
        client = machine.connect()
        again = client.call("ReadStdout", stdout(container, size=8192)).data
        pieces += [] if again == pieces[-1] else [again]
    pieces.append(client.read_all(container))
    client.call("RemoveContainer", agent.RemoveContainerRequest(container_id=container))
    client.close()
    assert b"".join(pieces) == b"".join(b"%d\n" % number for number in range(1, 60_001))


def test_half_a_frame_of_a_client_that_left_is_forgotten(machine: Machine, client: Client) -> None:
    frame = ttrpc.encode(1, ttrpc.REQUEST, b"x" * 1000)
    client.socket.sendall(frame[:500])
    client.close()
    second = machine.connect()
    assert second.call("Check", b"", service=HEALTH).status == 1
    second.close()


def test_output_moves(client: Client, start: Starter) -> None:
    size = 16 * 1024 * 1024
    container = start("head", "-c", str(size), "/dev/zero")
    began = time.monotonic()
    assert len(client.read_all(container)) == size
    rate = size / (time.monotonic() - began)
    print(f"{rate / 1e6:.1f} MB/s")  # noqa: T201
    assert rate > 1e6  # several times that on a machine that does nothing else


def test_files_are_copied_into_the_share(machine: Machine, client: Client) -> None:
    def copy(path: str, **more: Any) -> None:
        client.call("CopyFile", agent.CopyFileRequest(path=path, dir_mode=0o755, **more))

    copy(f"{SHARED}/copied/a.txt", file_size=6, file_mode=0o100640, data=b"abc")
    assert not (machine.share / "copied" / "a.txt").exists()
    copy(f"{SHARED}/copied/a.txt", file_size=6, file_mode=0o100640, data=b"def", offset=3)
    assert (machine.share / "copied" / "a.txt").read_bytes() == b"abcdef"
    for path in ("/etc/passwd", f"{SHARED}/../../../../etc/x", f"{SHARED}"):
        with pytest.raises(CallError) as caught:
            copy(path, file_mode=0o100644, data=b"x", file_size=1)
        assert caught.value.code == ttrpc.INVALID_ARGUMENT


def test_the_network_is_read_and_set(client: Client) -> None:
    wanted = types_pb2.Interface(name="net0", hwAddr=MAC.upper(), mtu=1400)
    for address, mask in (("192.0.2.2", "24"), ("2001:db8::2", "64")):
        family = types_pb2.v6 if ":" in address else types_pb2.v4
        wanted.IPAddresses.add(address=address, mask=mask, family=family)
    done = client.call("UpdateInterface", agent.UpdateInterfaceRequest(interface=wanted))
    assert (done.name, done.mtu, done.hwAddr) == ("net0", 1400, MAC)
    assert {each.address for each in done.IPAddresses} >= {"192.0.2.2", "2001:db8::2"}
    assert [each.name for each in client.call("ListInterfaces", b"").Interfaces] == ["net0"]

    routes = agent.Routes()
    routes.Routes.add(dest="", gateway="192.0.2.1", device="net0")
    routes.Routes.add(dest="198.51.100.0/24", device="net0", scope=253)
    for _ in range(2):  # the second time replaces the same
        done = client.call("UpdateRoutes", agent.UpdateRoutesRequest(routes=routes))
        found = {(each.dest, each.gateway) for each in done.Routes}
        assert found == {("", "192.0.2.1"), ("198.51.100.0/24", "")}
    assert client.call("ListRoutes", b"") == done

    neighbors = agent.ARPNeighbors()
    neighbors.ARPNeighbors.add(
        toIPAddress=types_pb2.IPAddress(address="192.0.2.1"), device="net0", lladdr=MAC
    )
    client.call("AddARPNeighbors", agent.AddARPNeighborsRequest(neighbors=neighbors))
    routes.Routes[0].device = "eth7"
    with pytest.raises(CallError, match="no interface 'eth7'"):
        client.call("UpdateRoutes", agent.UpdateRoutesRequest(routes=routes))


def test_metrics(client: Client) -> None:
    metrics = client.call("GetMetrics", b"").metrics
    assert 'kata_guest_meminfo{item="MemTotal"}' in metrics


def test_what_is_missing_or_wrong_has_its_code(client: Client) -> None:
    for method, payload, code in (
        ("AddSwap", b"", ttrpc.UNIMPLEMENTED),
        ("NoSuchMethod", b"", ttrpc.UNIMPLEMENTED),
        ("StartContainer", b"\xff\xff", ttrpc.INVALID_ARGUMENT),
        ("StartContainer", b"", ttrpc.INVALID_ARGUMENT),
        ("CreateContainer", b"", ttrpc.INVALID_ARGUMENT),
    ):
        with pytest.raises(CallError) as caught:
            client.call(method, payload)
        assert caught.value.code == code, method


def test_the_log_tells_what_happened(machine: Machine) -> None:
    assert "the agent serves" in machine.log()
    assert "Traceback" not in machine.log(), machine.log()


def test_destroying_the_sandbox_powers_the_guest_off(guest_cache: Path) -> None:
    with booted(guest_cache) as machine:
        client = machine.connect()
        create_sandbox(client)
        client.call("DestroySandbox", b"")
        assert machine.process.wait(30) == 0
        client.close()
