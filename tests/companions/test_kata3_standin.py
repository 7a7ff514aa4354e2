"""The stand-in for a kata-agent 3.x refuses what the protocol's tables say is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.kata3_agent import MAC, SHARE, Kata3Agent
from vctui.drivers import ttrpc_client
from vctui.drivers.agents.kata import requests
from vctui.drivers.agents.kata.carrier import Request
from vctui.drivers.agents.kata.first_generation import CreateContainer
from vctui.drivers.ttrpc_client import CallFailed, Session
from vctui.linux import sockets
from vctui.wire import ttrpc
from vctui.wire.pb import agent_pb2 as pb
from vctui.wire.pb import oci_pb2 as oci
from vctui.wire.pb import types_pb2

AGENT = "grpc.AgentService"
WAIT = 10.0


@pytest.fixture
async def guest(tmp_path: Path) -> AsyncIterator[Kata3Agent]:
    async with asyncio.timeout(WAIT), Kata3Agent(tmp_path / "agent.sock") as guest:
        yield guest


@pytest.fixture
async def session(guest: Kata3Agent) -> AsyncIterator[Session]:
    session = await ttrpc_client.connect(guest.path, timeout=WAIT)
    await session.call(
        AGENT, "CreateSandbox", requests.create_sandbox("web", "web").SerializeToString()
    )
    yield session
    await session.close()


SPACES = [oci.LinuxNamespace(Type=kind) for kind in ("ipc", "uts", "mount")]


def container(**spec: object) -> pb.CreateContainerRequest:
    parts = {
        "process": oci.Process(Args=["/bin/true"], Cwd="/"),
        "root": oci.Root(Path=f"{SHARE}c1/rootfs"),
        "linux": oci.Linux(Namespaces=SPACES),
    }
    return pb.CreateContainerRequest(container_id="c1", OCI=oci.Spec(**{**parts, **spec}))


def filtered() -> pb.CreateContainerRequest:
    call = oci.LinuxSyscall(Names=["mkdir"], Action="SCMP_ACT_ERRNO", errnoret=1)
    filter_ = oci.LinuxSeccomp(DefaultAction="SCMP_ACT_ALLOW", Syscalls=[call])
    return container(linux=oci.Linux(Seccomp=filter_, Namespaces=SPACES))


def with_device(id_: str, kind: str = "b") -> pb.CreateContainerRequest:
    devices = [oci.LinuxDevice(Path="/dev/x", Type=kind)]
    made = container(linux=oci.Linux(Devices=devices, Namespaces=SPACES))
    made.devices.add(id=id_, type="blk", container_path="/dev/x")
    return made


def without_number(made: pb.CreateContainerRequest) -> pb.CreateContainerRequest:
    made.OCI.linux.Seccomp.Syscalls[0].ClearField("errnoret")
    return made


TAKEN = {
    "as it should be": container().SerializeToString(),
    "a filter": filtered().SerializeToString(),
    "a device behind a bridge": with_device("02/00.0/1f.7").SerializeToString(),
}
REFUSED = {
    "agent_pidns of 1.12": container().SerializeToString() + b"\x40\x01",
    "a short id": container().SerializeToString().replace(b"\x0a\x02c1", b"\x0a\x01c"),
    "no process": container(process=None).SerializeToString(),
    "no root": container(root=None).SerializeToString(),
    "no linux": container(linux=None).SerializeToString(),
    "a pid namespace": container(
        linux=oci.Linux(Namespaces=[*SPACES, oci.LinuxNamespace(Type="pid")])
    ).SerializeToString(),
    "no namespaces": container(linux=oci.Linux()).SerializeToString(),
    "a program that is not there": container(
        process=oci.Process(Args=["/no/such"])
    ).SerializeToString(),
    "a mount that leads out": container(
        Mounts=[oci.Mount(destination="/a/../b", type="tmpfs")]
    ).SerializeToString(),
    "a root that is not mounted": container(root=oci.Root(Path="/r")).SerializeToString(),
    "a device as 1.11 has it": with_device("bridge/slot").SerializeToString(),
    "a device with a slot that is none": with_device("02/20").SerializeToString(),
    "garbage": b"\xff\xff",
}


PANICS: dict[str, Request] = {
    "a filter of 1.x": CreateContainer(without_number(filtered())),
    "a capability": container(
        process=oci.Process(Args=["/bin/true"], Cwd="/", Capabilities={"Bounding": ["CAP_FLY"]})
    ),
    "a limit": container(
        process=oci.Process(
            Args=["/bin/true"], Cwd="/", Rlimits=[oci.POSIXRlimit(Type="RLIMIT_FUN")]
        )
    ),
    "an action of a filter": container(
        linux=oci.Linux(
            Namespaces=SPACES,
            Seccomp=oci.LinuxSeccomp(Syscalls=[oci.LinuxSyscall(Names=["mkdir"], Action="refuse")]),
        )
    ),
    "a kind of device": with_device("02", kind="x"),
}
SINS = {
    "'nobody' is taken for 0": container(
        process=oci.Process(Args=["/bin/true"], Cwd="/", user=oci.User(Username="nobody"))
    ),
    "['mkdir'] do nothing and seem to succeed": without_number(filtered()),
}


@pytest.mark.parametrize("body", TAKEN.values(), ids=TAKEN)
async def test_containers_as_they_should_be_are_taken(session: Session, body: bytes):
    assert await session.call(AGENT, "CreateContainer", body) == b""


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED)
async def test_what_a_real_agent_refuses_is_refused(session: Session, body: bytes):
    with pytest.raises(CallFailed) as refused:
        await session.call(AGENT, "CreateContainer", body)
    assert refused.value.code in {ttrpc.INVALID_ARGUMENT, ttrpc.INTERNAL}


@pytest.mark.parametrize("request_", PANICS.values(), ids=PANICS)
async def test_who_makes_it_panic_has_no_answer(session: Session, request_: Request):
    call = asyncio.create_task(session.call(AGENT, "CreateContainer", request_.SerializeToString()))
    await asyncio.sleep(0)  # it is sent
    await session.call("grpc.Health", "Check")
    assert not call.done()
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)


@pytest.mark.parametrize(("sin", "request_"), SINS.items(), ids=SINS)
async def test_what_it_passes_over_in_silence_is_found_out(
    guest: Kata3Agent, session: Session, sin: str, request_: pb.CreateContainerRequest
):
    await session.call(AGENT, "CreateContainer", request_.SerializeToString())
    assert guest.sins == [sin]


ROUTES = {
    "no address": types_pb2.Route(dest="elsewhere", device="eth0"),
    "another family": types_pb2.Route(dest="fd00::/64", device="eth0"),
    "an interface that is not there": types_pb2.Route(dest="10.0.0.0/8", device="eth1"),
    "a gateway with a mask": types_pb2.Route(gateway="10.0.0.1/24", device="eth0"),
}


async def test_interfaces_and_routes_are_looked_at_closely(session: Session):
    address = types_pb2.IPAddress(address="10.0.0.2", mask="24")
    good = types_pb2.Interface(name="eth0", hwAddr=MAC, mtu=1500, IPAddresses=[address])
    addressed = types_pb2.Interface(name="eth0", hwAddr=MAC, mtu=1500)
    addressed.IPAddresses.add(address="10.0.0.2/24", mask="24")
    for bad in (types_pb2.Interface(name="eth0", hwAddr=MAC), addressed):
        with pytest.raises(CallFailed):
            await session.call(AGENT, "UpdateInterface", request(bad))
    await session.call(AGENT, "UpdateInterface", request(good))
    for route in ROUTES.values():
        with pytest.raises(CallFailed):
            await session.call(AGENT, "UpdateRoutes", to(route))
    way_out = types_pb2.Route(gateway="10.0.0.1", device="eth0")
    assert await session.call(AGENT, "UpdateRoutes", to(way_out))


def request(interface: types_pb2.Interface) -> bytes:
    return pb.UpdateInterfaceRequest(interface=interface).SerializeToString()


def to(route: types_pb2.Route) -> bytes:
    return pb.UpdateRoutesRequest(routes=pb.Routes(Routes=[route])).SerializeToString()


async def test_what_is_gone_since_the_first_generation_is_unknown(session: Session):
    unknown_to_it = ((AGENT, ttrpc.UNIMPLEMENTED), ("vctui.Guest", ttrpc.INVALID_ARGUMENT))
    for service, code in unknown_to_it:
        with pytest.raises(CallFailed) as unknown:
            await session.call(service, "ListProcesses")
        assert unknown.value.code == code


@pytest.mark.parametrize(
    "frames",
    [
        [(2, ttrpc.REQUEST, 0)],
        [(3, ttrpc.REQUEST, 0), (1, ttrpc.REQUEST, 0)],
        [(1, ttrpc.REQUEST, ttrpc.REMOTE_CLOSED)],
        [(1, ttrpc.DATA, 0)],
    ],
)
async def test_who_breaks_ttrpc_is_found_out(guest: Kata3Agent, frames: list[tuple[int, int, int]]):
    with await sockets.connect(guest.path) as client:
        body = ttrpc_client.request("grpc.Health", "Check")
        for stream, kind, flags in frames:
            data = ttrpc.encode(stream, kind, body, flags)
            await asyncio.get_running_loop().sock_sendall(client, data)
        while not guest.sins:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.001)


async def test_two_reads_and_an_early_wait_are_found_out(guest: Kata3Agent, session: Session):
    await session.call(AGENT, "CreateContainer", container().SerializeToString())
    read = pb.ReadStreamRequest(container_id="c1", len=10).SerializeToString()
    reading = [asyncio.create_task(session.call(AGENT, "ReadStdout", read)) for _ in range(2)]
    while not guest.sins:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.001)
    assert guest.sins == ["two reads of ('c1', 'c1', 'stdout') at once"]
    for task in reading:
        task.cancel()
    await asyncio.gather(*reading, return_exceptions=True)
