"""The agent over a socket, on the host: calls, streams, time-outs, floods, garbage."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.guest.agent_program import AgentProgram
from tests.guest.client import HEALTH, CallError, Client, exec_request
from vctui.wire import ttrpc
from vctui.wire.pb import agent_pb2 as agent
from vctui.wire.pb import oci_pb2

MIB = 1024 * 1024
Connector = Callable[[], Client]


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[socket.socket]:
    """Our end of the channel of one agent for all tests here."""
    folder = tmp_path_factory.mktemp("agent")
    ours, theirs = socket.socketpair()
    program = AgentProgram([theirs], folder)
    with ours:
        yield ours
        runs = program.runs
    program.end()
    assert runs


@pytest.fixture
def client(connection: socket.socket) -> Client:
    """A client with numbers that begin anew, which the agent takes for a new connection."""
    client = Client(connection)
    assert client.call("Check", b"", service=HEALTH).status == 1
    return client


@pytest.fixture
def start(client: Client) -> Iterator[Callable[..., str]]:
    made: list[str] = []

    def begin(*args: str) -> str:
        made.append(f"c{os.urandom(4).hex()}")
        wanted = agent.CreateContainerRequest(container_id=made[-1], OCI=spec(*args))
        client.call("CreateContainer", wanted)
        client.call("StartContainer", agent.StartContainerRequest(container_id=made[-1]))
        return made[-1]

    yield begin
    for container_id in made:
        request = agent.SignalProcessRequest(container_id=container_id, signal=15)
        client.call("SignalProcess", request)
        client.call("RemoveContainer", agent.RemoveContainerRequest(container_id=container_id))


def spec(*args: str, root: str = "/") -> oci_pb2.Spec:
    return oci_pb2.Spec(
        process=oci_pb2.Process(Args=args), root=oci_pb2.Root(Path=root), linux=oci_pb2.Linux()
    )


def read(container_id: str, exec_id: str = "", size: int = 65536) -> agent.ReadStreamRequest:
    return agent.ReadStreamRequest(container_id=container_id, exec_id=exec_id, len=size)


def refused(code: int, call: Callable[[], object]) -> str:
    with pytest.raises(CallError) as caught:
        call()
    assert caught.value.code == code, caught.value
    return caught.value.message


def test_answers_come_in_any_order(client: Client, start: Callable[..., str]) -> None:
    container = start("/bin/cat")
    first = client.start("ReadStdout", read(container))
    second = client.start("WaitProcess", agent.WaitProcessRequest(container_id=container))
    client.call("Check", b"", service=HEALTH)
    client.call("WriteStdin", agent.WriteStreamRequest(container_id=container, data=b"hi"))
    assert first.result().data == b"hi"
    client.call("CloseStdin", agent.CloseStdinRequest(container_id=container))
    assert second.result().status == 0
    assert client.read_all(container) == b""
    assert client.read_all(container) == b""


def test_a_container_can_be_started_once(client: Client, start: Callable[..., str]) -> None:
    container = start("/bin/true")
    request = agent.StartContainerRequest(container_id=container)
    assert "started already" in refused(
        ttrpc.INTERNAL, lambda: client.call("StartContainer", request)
    )


def test_a_root_folder_is_held_until_its_container_runs_or_is_removed(tmp_path: Path) -> None:
    root = tmp_path / "rootfs"
    root.mkdir()
    ours, theirs = socket.socketpair()
    program = AgentProgram([theirs], tmp_path)

    def held() -> int:
        count = 0
        for fd in Path(f"/proc/{program.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                count += fd.readlink() == root
        return count

    with ours:
        client = Client(ours)
        for name, args in (("started", "/bin/true"), ("failed", "/nothing"), ("removed", "/x")):
            wanted = agent.CreateContainerRequest(container_id=name, OCI=spec(args, root=str(root)))
            client.call("CreateContainer", wanted)
        assert held() == 3
        client.call("StartContainer", agent.StartContainerRequest(container_id="started"))
        assert held() == 2
        with pytest.raises(CallError):
            client.call("StartContainer", agent.StartContainerRequest(container_id="failed"))
        assert held() == 1
        client.call("RemoveContainer", agent.RemoveContainerRequest(container_id="removed"))
        assert held() == 0
    program.end()


def test_streams_and_the_end_can_be_waited_for_before_the_start(client: Client) -> None:
    wanted = agent.CreateContainerRequest(container_id="early", OCI=spec("/bin/cat"))
    client.call("CreateContainer", wanted)
    reading = client.start("ReadStdout", read("early"))
    waiting = client.start("WaitProcess", agent.WaitProcessRequest(container_id="early"))
    writing = client.start(
        "WriteStdin", agent.WriteStreamRequest(container_id="early", data=b"early")
    )
    client.call("Check", b"", service=HEALTH)
    assert not reading.answered
    client.call("StartContainer", agent.StartContainerRequest(container_id="early"))
    assert reading.result().data == b"early"
    assert writing.result().len == 5
    client.call("CloseStdin", agent.CloseStdinRequest(container_id="early"))
    assert waiting.result().status == 0
    client.call("RemoveContainer", agent.RemoveContainerRequest(container_id="early"))


def test_removals_of_one_container_join_each_other(client: Client) -> None:
    wanted = agent.CreateContainerRequest(container_id="twice", OCI=spec("/bin/cat"))
    client.call("CreateContainer", wanted)
    client.call("StartContainer", agent.StartContainerRequest(container_id="twice"))
    request = agent.RemoveContainerRequest(container_id="twice")
    late = agent.RemoveContainerRequest(container_id="twice", timeout=1)
    removals = [client.start("RemoveContainer", request) for _ in range(2)]
    assert "not gone" in refused(
        ttrpc.DEADLINE_EXCEEDED, lambda: client.call("RemoveContainer", late)
    )
    client.call("CloseStdin", agent.CloseStdinRequest(container_id="twice"))
    for removal in removals:
        removal.result()
    refused(ttrpc.INVALID_ARGUMENT, lambda: client.call("RemoveContainer", request))


@pytest.mark.parametrize("start", [True, False])
def test_who_waits_for_a_container_that_never_runs_is_told(client: Client, start: bool) -> None:
    wanted = agent.CreateContainerRequest(container_id="never", OCI=spec("/no/such/program"))
    client.call("CreateContainer", wanted)
    reading = client.start("ReadStdout", read("never"))
    waiting = client.start("WaitProcess", agent.WaitProcessRequest(container_id="never"))
    if start:
        request = agent.StartContainerRequest(container_id="never")
        refused(ttrpc.INTERNAL, lambda: client.call("StartContainer", request))
    request = agent.RemoveContainerRequest(container_id="never")
    client.call("RemoveContainer", request)
    assert reading.result().data == b""
    refused(ttrpc.INTERNAL if start else ttrpc.NOT_FOUND, waiting.result)
    refused(ttrpc.INVALID_ARGUMENT, lambda: client.call("RemoveContainer", request))


def test_ids_that_are_no_ids_or_taken(client: Client, start: Callable[..., str]) -> None:
    for illegal in ("", "a", "../x", "-ab", "a/b", "a\0b", "ä1", "x" * 200):
        request = agent.CreateContainerRequest(container_id=illegal, OCI=spec("/bin/true"))
        refused(ttrpc.INVALID_ARGUMENT, lambda r=request: client.call("CreateContainer", r))
    taken = agent.CreateContainerRequest(container_id=start("/bin/cat"), OCI=spec("/bin/true"))
    refused(ttrpc.ALREADY_EXISTS, lambda: client.call("CreateContainer", taken))


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (oci_pb2.Spec(process=oci_pb2.Process(Args=["x"]), root=oci_pb2.Root(Path="/")), "Linux"),
        (oci_pb2.Spec(process=oci_pb2.Process(Args=["x"]), linux=oci_pb2.Linux()), "Root"),
        (spec("x", root=""), "Root.Path"),
        (oci_pb2.Spec(root=oci_pb2.Root(Path="/"), linux=oci_pb2.Linux()), "Process"),
        (spec("x", root="/no/such/folder"), "/no/such/folder"),
    ],
)
def test_a_specification_that_cannot_be_followed(
    client: Client, broken: oci_pb2.Spec, said: str
) -> None:
    request = agent.CreateContainerRequest(container_id="broken", OCI=broken)
    assert said in refused(ttrpc.INTERNAL, lambda: client.call("CreateContainer", request))
    wait = agent.WaitProcessRequest(container_id="broken")
    refused(ttrpc.INVALID_ARGUMENT, lambda: client.call("WaitProcess", wait))


def test_a_call_that_takes_too_long_ends_and_swallows_nothing(
    client: Client, start: Callable[..., str]
) -> None:
    container = start("/bin/cat")
    late = client.start("ReadStdout", read(container), timeout=0.05)
    refused(ttrpc.DEADLINE_EXCEEDED, late.result)
    client.call("WriteStdin", agent.WriteStreamRequest(container_id=container, data=b"kept"))
    assert client.call("ReadStdout", read(container)).data == b"kept"


def test_a_read_gives_no_more_than_asked_for_and_loses_nothing(
    client: Client, start: Callable[..., str]
) -> None:
    container = start("/bin/cat")
    client.call("WriteStdin", agent.WriteStreamRequest(container_id=container, data=b"abcdef"))
    parts = [client.call("ReadStdout", read(container, size=4)).data for _ in range(2)]
    assert b"".join(parts) == b"abcdef"
    assert max(map(len, parts)) <= 4


def test_the_next_client_is_given_again_what_the_last_one_may_not_have_got(
    client: Client, start: Callable[..., str], connection: socket.socket
) -> None:
    container = start("/bin/cat")
    client.call("WriteStdin", agent.WriteStreamRequest(container_id=container, data=b"precious"))
    assert client.call("ReadStdout", read(container)).data == b"precious"
    second = Client(connection)
    assert second.call("ReadStdout", read(container, size=5)).data == b"preci"
    assert second.call("ReadStdout", read(container)).data == b"ous"
    second.call("WriteStdin", agent.WriteStreamRequest(container_id=container, data=b"more"))
    assert second.call("ReadStdout", read(container)).data == b"more"
    client._stream = second._stream


def test_writing_waits_for_the_reader_and_a_flood_of_output_for_the_host(
    client: Client, start: Callable[..., str]
) -> None:
    container = start("/bin/cat")
    data = os.urandom(2 * MIB)
    writing = client.start(
        "WriteStdin", agent.WriteStreamRequest(container_id=container, data=data)
    )
    client.call("Check", b"", service=HEALTH)
    assert not writing.answered  # pipes are full, nobody reads yet
    found = b""
    while len(found) < len(data):
        found += client.call("ReadStdout", read(container, size=256 * 1024)).data
    assert found == data
    assert writing.result().len == len(data)


def test_writing_to_who_does_not_read_any_more(client: Client, start: Callable[..., str]) -> None:
    container = start("/bin/true")
    assert client.wait(container) == 0
    request = agent.WriteStreamRequest(container_id=container, data=b"x")
    refused(ttrpc.UNAVAILABLE, lambda: client.call("WriteStdin", request))


def test_ended_processes_are_remembered_but_not_for_ever(
    client: Client, start: Callable[..., str]
) -> None:
    container = start("/bin/cat")
    for number in range(258):
        client.call("ExecProcess", exec_request(container, f"e{number}", "/bin/true"))
        assert client.wait(container, f"e{number}") == 0
    refused(ttrpc.NOT_FOUND, lambda: client.wait(container, "e0"))
    assert client.wait(container, "e257") == 0
    assert client.wait(container, "e100") == 0


def test_an_exec_needs_an_id_of_its_own(client: Client, start: Callable[..., str]) -> None:
    container = start("/bin/cat")
    for exec_id in ("", container):
        request = exec_request(container, exec_id, "/bin/true")
        refused(ttrpc.ALREADY_EXISTS, lambda r=request: client.call("ExecProcess", r))


def test_what_there_is_not(client: Client) -> None:
    nobody = "nobody"
    for method, request in (
        ("StartContainer", agent.StartContainerRequest(container_id=nobody)),
        ("RemoveContainer", agent.RemoveContainerRequest(container_id=nobody)),
        ("WaitProcess", agent.WaitProcessRequest(container_id=nobody)),
        ("ReadStdout", read(nobody)),
        ("StatsContainer", agent.StatsContainerRequest(container_id=nobody)),
        ("PauseContainer", agent.PauseContainerRequest(container_id=nobody)),
        ("UpdateContainer", agent.UpdateContainerRequest(container_id=nobody)),
    ):
        refused(ttrpc.INVALID_ARGUMENT, lambda m=method, r=request: client.call(m, r))
    refused(ttrpc.UNIMPLEMENTED, lambda: client.call("SetPolicy", b""))
    refused(ttrpc.UNIMPLEMENTED, lambda: client.call("Check", b"", service="grpc.Nothing"))


def test_a_flood_of_waiting_calls_is_bounded(
    client: Client, start: Callable[..., str], connection: socket.socket
) -> None:
    container = start("/bin/cat")
    waits = [
        client.start("WaitProcess", agent.WaitProcessRequest(container_id=container))
        for _ in range(1100)
    ]
    refused(ttrpc.RESOURCE_EXHAUSTED, waits[-1].result)
    # a new client finds room, as nobody waits for those any more
    second = Client(connection)
    assert second.call("Check", b"", service=HEALTH).status == 1
    client.answers.clear()
    client._stream = second._stream + 10_000


def test_a_frame_that_is_too_large_is_refused_and_passed_over(
    client: Client, connection: socket.socket
) -> None:
    length = ttrpc.MAX_DATA + 1
    connection.sendall(struct.pack(">IIBB", length, 99_999, ttrpc.REQUEST, 0))
    for _ in range(length // MIB):
        connection.sendall(bytes(MIB))
    connection.sendall(bytes(length % MIB))
    while 99_999 not in client.answers:
        client.receive()
    assert client.answers.pop(99_999).status.code == ttrpc.RESOURCE_EXHAUSTED
    assert client.call("Check", b"", service=HEALTH).status == 1


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    service=st.sampled_from(["grpc.AgentService", "grpc.Health", "vctui.Guest", "x"]),
    method=st.sampled_from(
        [
            "CreateContainer",
            "ExecProcess",
            "SignalProcess",
            "UpdateContainer",
            "ReadStdout",
            "CopyFile",
            "ListProcesses",
            "TtyWinResize",
            "Check",
        ]
    ),
    payload=st.binary(max_size=64),
    kind=st.sampled_from([ttrpc.REQUEST, ttrpc.RESPONSE, ttrpc.DATA, 77]),
    flags=st.integers(0, 255),
    envelope=st.booleans(),
)
def test_garbage_never_kills_the_agent(
    client: Client,
    service: str,
    method: str,
    payload: bytes,
    kind: int,
    flags: int,
    envelope: bool,
) -> None:
    data = payload
    if envelope:
        parts = (service.encode(), method.encode(), payload)
        data = b"".join(
            bytes((number << 3 | 2, len(part))) + part for number, part in enumerate(parts, 1)
        )
    client._stream += 2
    client.socket.sendall(ttrpc.encode(client._stream, kind, data, flags))
    assert client.call("Check", b"", service=HEALTH).status == 1
    client.answers.clear()


def test_metrics(client: Client) -> None:
    assert "kata_guest_containers 0" in client.call("GetMetrics", b"").metrics


def test_a_container_that_waits_for_its_device_can_be_removed(client: Client) -> None:
    """As the engine does after another one that was killed: else the old request would go on with
    the device of the next."""
    never = agent.Device(type="vfio-pci-gk", id="a", options=["0000:00:1f.0=1f/1e"])
    wanted = agent.CreateContainerRequest(
        container_id="waiting", devices=[never], OCI=spec("/bin/sleep", "1000")
    )
    waiting = client.start("CreateContainer", wanted)
    removed = agent.RemoveContainerRequest(container_id="waiting")
    client.call("RemoveContainer", removed)
    with pytest.raises(CallError, match="removed while it was made"):
        waiting.result()
    wanted = agent.CreateContainerRequest(container_id="waiting", OCI=spec("/bin/sleep", "1000"))
    client.call("CreateContainer", wanted)
    client.call("RemoveContainer", removed)
    with pytest.raises(CallError, match="there is no container"):
        client.call("RemoveContainer", removed)
