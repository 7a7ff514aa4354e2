"""What goes to an agent of Kata 1.x, decoded with the messages as they were then."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from vctui.drivers.agents.base import ContainerSpec
from vctui.drivers.agents.kata import first_generation, requests
from vctui.errors import AgentUnsupported
from vctui.model.container import Cmd, ContainerConfig, Mount
from vctui.wire.pb import agent_pb2, oci_pb2, types_pb2

STRING, MESSAGE, UINT64 = 9, 11, 4
ONE, MANY = 1, 3


def old_messages():
    """CreateContainerRequest of 1.x, as far as a seccomp filter is in it."""
    file = descriptor_pb2.FileDescriptorProto(name="old.proto", package="old", syntax="proto3")
    for name, *fields in (
        ("Request", (1, "container_id", STRING, ONE, ""), (6, "OCI", MESSAGE, ONE, "Spec")),
        ("Spec", (4, "Hostname", STRING, ONE, ""), (8, "Linux", MESSAGE, ONE, "Linux")),
        ("Linux", (5, "CgroupsPath", STRING, ONE, ""), (8, "Seccomp", MESSAGE, ONE, "Seccomp")),
        (
            "Seccomp",
            (1, "DefaultAction", STRING, ONE, ""),
            (2, "Architectures", STRING, MANY, ""),
            (3, "Syscalls", MESSAGE, MANY, "Syscall"),
        ),
        (
            "Syscall",
            (1, "Names", STRING, MANY, ""),
            (2, "Action", STRING, ONE, ""),
            (3, "Args", MESSAGE, MANY, "Arg"),
        ),
        ("Arg", (1, "Index", UINT64, ONE, ""), (2, "Value", UINT64, ONE, "")),
    ):
        message = file.message_type.add(name=name)
        for number, field, kind, label, of in fields:
            added = message.field.add(name=field, number=number, type=kind, label=label)
            if of:
                added.type_name = f".old.{of}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("old.Request"))


def request(**seccomp: object) -> agent_pb2.CreateContainerRequest:
    linux = oci_pb2.Linux(CgroupsPath="/vctui/c1")
    if seccomp:
        linux.Seccomp.CopyFrom(oci_pb2.LinuxSeccomp(**seccomp))
    return agent_pb2.CreateContainerRequest(
        container_id="c1", OCI=oci_pb2.Spec(Hostname="web", linux=linux)
    )


def test_a_seccomp_filter_has_the_numbers_of_then_and_the_rest_is_untouched():
    call = oci_pb2.LinuxSyscall(
        Names=["mkdir" * 30, "rmdir"],
        Action="SCMP_ACT_ERRNO",
        Args=[oci_pb2.LinuxSeccompArg(Index=1, Value=7)],
    )
    made = first_generation.CreateContainer(
        request(DefaultAction="SCMP_ACT_ALLOW", Architectures=["SCMP_ARCH_X86_64"], Syscalls=[call])
    )
    old = old_messages().FromString(made.SerializeToString())
    assert (old.container_id, old.OCI.Hostname) == ("c1", "web")
    assert old.OCI.Linux.CgroupsPath == "/vctui/c1"
    seccomp = old.OCI.Linux.Seccomp
    assert (seccomp.DefaultAction, list(seccomp.Architectures)) == (
        "SCMP_ACT_ALLOW",
        ["SCMP_ARCH_X86_64"],
    )
    (found,) = seccomp.Syscalls
    assert list(found.Names) == ["mkdir" * 30, "rmdir"]
    assert found.Action == "SCMP_ACT_ERRNO"
    assert [(one.Index, one.Value) for one in found.Args] == [(1, 7)]


def test_without_a_filter_nothing_is_changed():
    wanted = request().SerializeToString()
    assert first_generation.CreateContainer(request()).SerializeToString() == wanted


@pytest.mark.parametrize(
    "said",
    [
        {"Flags": ["SECCOMP_FILTER_FLAG_LOG"]},
        {"Syscalls": [oci_pb2.LinuxSyscall(Names=["mkdir"], errnoret=1)]},
    ],
)
def test_what_could_not_be_said_then_is_refused(said: dict[str, object]):
    with pytest.raises(AgentUnsupported, match="seccomp"):
        first_generation.CreateContainer(request(**said))


@pytest.mark.parametrize(
    ("cmd", "name"),
    [
        (Cmd(args=("a",)), ""),
        (Cmd(args=("a",), user="www"), "www"),
        (Cmd(args=("a",), user="www:web"), "www:web"),
        (Cmd(args=("a",), primary_group="web"), "0:web"),
    ],
)
def test_a_user_names_its_group_as_well(cmd: Cmd, name: str):
    process = oci_pb2.Process()
    first_generation.suit(process, cmd)
    assert process.user.Username == name


def test_programs_that_it_would_not_run_are_refused():
    asked = request()
    asked.OCI.hooks.StartContainer.add(Path="/bin/prepare")
    with pytest.raises(AgentUnsupported, match="start_hooks of container 'c1'"):
        first_generation.CreateContainer(asked)


def test_groups_that_nobody_would_look_up_are_refused():
    first_generation.suit(oci_pb2.Process(), Cmd(args=("a",), supplementary_groups=("7",)))
    with pytest.raises(AgentUnsupported, match="'audio'"):
        first_generation.suit(
            oci_pb2.Process(), Cmd(args=("a",), supplementary_groups=("7", "audio"))
        )


@pytest.mark.parametrize("asked", [False, True])
def test_message_queues_are_mounted_only_where_the_container_asks(asked: bool):
    queues = Mount(source="tmpfs", destination="/dev/mqueue", type="tmpfs")
    config = ContainerConfig(
        id="c1", rootfs="/", cmd=Cmd(args=("a",)), mounts=(queues,) if asked else ()
    )
    spec = requests.oci_spec(ContainerSpec(config=config, hostname="web", rootfs="c1/rootfs"))
    usual = [mount.destination for mount in spec.Mounts]
    first_generation.suit_mounts(spec, config)
    kept = [mount.destination for mount in spec.Mounts]
    assert kept == [one for one in usual if asked or one != "/dev/mqueue"]
    assert {"/proc", "/dev", "/sys"} <= set(kept)


def test_of_routes_to_one_destination_the_first_is_told():
    routes = agent_pb2.Routes(
        Routes=[
            types_pb2.Route(device="eth0"),
            types_pb2.Route(device="eth0", family=types_pb2.v6),
            types_pb2.Route(device="eth1", gateway="10.0.0.1"),
            types_pb2.Route(device="eth1", dest="10.1.0.0/16"),
        ]
    )
    first_generation.suit_routes(routes)
    assert [(one.device, one.dest) for one in routes.Routes] == [
        ("eth0", ""),
        ("eth0", "::/0"),
        ("eth1", "10.1.0.0/16"),
    ]
