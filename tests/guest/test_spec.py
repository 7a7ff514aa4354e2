from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.errors import AgentError
from vctui.guest import spec
from vctui.guest.document import dumps
from vctui.guest.users import Identity
from vctui.wire import proto
from vctui.wire.pb import oci_pb2


def ours(message: oci_pb2.Spec | oci_pb2.Process) -> Any:
    """As the agent has it: through the wire, and its own codec."""
    return proto.message(message.DESCRIPTOR.name).decode(message.SerializeToString())


def converted(message: oci_pb2.Spec, **how: Any) -> dict[str, Any]:
    message.process.Args[:] = message.process.Args or ["true"]
    message.root.Path = message.root.Path or "/r"
    message.linux.SetInParent()
    return spec.container(ours(message), identity=Identity(), cgroup="/vctui/c1", **how)


def test_a_plain_container() -> None:
    document = converted(
        oci_pb2.Spec(
            process=oci_pb2.Process(Args=["sh", "-c", "x"], Env=["A=b"], Cwd="/w"),
            root=oci_pb2.Root(Path="/r", Readonly=True),
            Mounts=[oci_pb2.Mount(destination="/proc", source="proc", type="proc")],
            Annotations={"k": "v"},
        )
    )
    assert document == {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh", "-c", "x"],
            "env": ["A=b"],
            "cwd": "/w",
            "noNewPrivileges": False,
        },
        "root": {"path": "/r", "readonly": True},
        "mounts": [{"destination": "/proc", "source": "proc", "type": "proc"}],
        "linux": {
            "namespaces": [{"type": "pid"}, {"type": "mount"}],
            "cgroupsPath": "/vctui/c1",
            "personality": {"domain": "LINUX"},
        },
        "annotations": {"k": "v"},
    }


def test_what_is_the_pods_is_not_made_anew() -> None:
    message = oci_pb2.Spec(Hostname="x")
    for kind in ("network", "ipc", "uts", "pid", "mount", "cgroup"):
        message.linux.Namespaces.add(Type=kind)
    document = converted(message, pid_namespace="/proc/7/ns/pid")
    assert document["linux"]["namespaces"] == [
        {"type": "pid", "path": "/proc/7/ns/pid"},
        {"type": "mount"},
        {"type": "cgroup"},
    ]
    assert "hostname" not in document


def test_limits_rules_and_devices() -> None:
    resources = oci_pb2.LinuxResources(
        Devices=[
            oci_pb2.LinuxDeviceCgroup(Allow=False, Major=-1, Minor=-1, Access="rwm"),
            oci_pb2.LinuxDeviceCgroup(Allow=True, Type="c", Major=1, Minor=0, Access="r"),
        ],
        Memory=oci_pb2.LinuxMemory(Limit=1 << 20),
        Pids=oci_pb2.LinuxPids(Limit=9),
    )
    device = oci_pb2.LinuxDevice(Path="/dev/x", Type="c", Major=1, Minor=3, FileMode=0o100666)
    linux = oci_pb2.Linux(
        Resources=resources, Devices=[device], MaskedPaths=["/m"], Sysctl={"a": "1"}
    )
    document = converted(oci_pb2.Spec(linux=linux))["linux"]
    assert document["resources"] == {
        "devices": [
            {"allow": False, "access": "rwm"},
            {"allow": True, "access": "r", "type": "c", "major": 1, "minor": 0},
        ],
        "memory": {"limit": 1 << 20},
        "pids": {"limit": 9},
    }
    assert document["devices"][0]["fileMode"] == 0o666
    assert document["maskedPaths"] == ["/m"]
    assert "sysctl" not in document  # the agent writes them


def test_seccomp_and_hooks() -> None:
    call = oci_pb2.LinuxSyscall(Names=["mount"], Action="SCMP_ACT_ERRNO", errnoret=0)
    call.Args.add(Index=1, Value=2, ValueTwo=3, Op="SCMP_CMP_EQ")
    seccomp = oci_pb2.LinuxSeccomp(DefaultAction="SCMP_ACT_ALLOW", Syscalls=[call])
    message = oci_pb2.Spec(linux=oci_pb2.Linux(Seccomp=seccomp))
    message.hooks.Poststop.add(Path="/h", Args=["h"], Timeout=5)
    document = converted(message)
    assert document["linux"]["seccomp"]["syscalls"] == [
        {
            "names": ["mount"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": 0,
            "args": [{"index": 1, "value": 2, "valueTwo": 3, "op": "SCMP_CMP_EQ"}],
        }
    ]
    assert document["hooks"] == {
        "poststop": [{"path": "/h", "args": ["h"], "env": [], "timeout": 5}]
    }


def test_a_process_with_everything() -> None:
    process = oci_pb2.Process(
        Args=["x"],
        Terminal=True,
        ConsoleSize=oci_pb2.Box(Height=24, Width=80),
        NoNewPrivileges=True,
        OOMScoreAdj=-5,
        Capabilities=oci_pb2.LinuxCapabilities(Bounding=["CAP_KILL"], Ambient=["CAP_CHOWN"]),
        Rlimits=[oci_pb2.POSIXRlimit(Type="RLIMIT_NOFILE", Hard=2, Soft=1)],
    )
    document = spec.process(ours(process), identity=Identity(1, 2, (3, 4)))
    assert document["user"] == {"uid": 1, "gid": 2, "additionalGids": [3, 4]}
    assert document["capabilities"] == {
        "bounding": ["CAP_KILL"],
        "effective": [],
        "inheritable": [],
        "permitted": [],
        "ambient": ["CAP_CHOWN"],
    }
    assert document["rlimits"] == [{"type": "RLIMIT_NOFILE", "hard": 2, "soft": 1}]
    assert (document["cwd"], document["oomScoreAdj"]) == ("/", -5)
    assert (document["terminal"], document["consoleSize"]) == (True, {"height": 24, "width": 80})


@pytest.mark.parametrize(
    ("process", "said"),
    [
        (oci_pb2.Process(), "no arguments"),
        (oci_pb2.Process(Args=[""]), "executable file `` not found"),
        (oci_pb2.Process(Args=["a\0b"]), "NUL"),
        (oci_pb2.Process(Args=["a"], Env=["A=\0"]), "NUL"),
    ],
)
def test_processes_that_cannot_be(process: oci_pb2.Process, said: str) -> None:
    with pytest.raises(AgentError, match=said):
        spec.process(ours(process), identity=Identity())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_values)
def test_documents_are_json(value: Any) -> None:
    assert json.loads(dumps(value)) == value
