"""OCI bundles become pods of one container; nothing is dropped in silence."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.errors import FileProblem, InvalidConfig
from vctui.model.pod import PodConfig
from vctui.wire import oci

USUAL: dict[str, Any] = {
    "ociVersion": "1.0.2",
    "process": {
        "terminal": True,
        "user": {"uid": 7, "gid": 8, "additionalGids": [9, 10]},
        "args": ["sleep", "5"],
        "env": ["PATH=/bin", "A=b=c", "broken", "=none", "EMPTY="],
        "cwd": "/srv",
        "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"]},
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
        "noNewPrivileges": True,
    },
    "root": {"path": "rootfs", "readonly": True},
    "hostname": "shop",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts"},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]},
        {"destination": "/data", "type": "none", "source": "data", "options": ["rbind", "ro"]},
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m"]},
    ],
    "linux": {
        "resources": {
            "devices": [{"allow": False, "access": "rwm"}],
            "memory": {"limit": 256 * 1024**2 + 1},
            "cpu": {"quota": 150_000, "period": 100_000, "shares": 512},
            "pids": {"limit": 99},
        },
        "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "mount"}],
        "maskedPaths": ["/proc/acpi", "/proc/kcore"],
        "readonlyPaths": ["/proc/bus"],
    },
    "annotations": {"org.example": "kept"},
}


def changed(path: str, value: object) -> dict[str, Any]:
    """The usual bundle with one key set, or removed for None."""
    document: dict[str, Any] = json.loads(json.dumps(USUAL))
    *above, last = path.split(".")
    table = document
    for key in above:
        table = table.setdefault(key, {})
    if value is None:
        del table[last]
    else:
        table[last] = value
    return document


def translate(document: object) -> tuple[PodConfig, list[str]]:
    raw = json.dumps(document).encode()
    data, warnings = oci.pod_of_bundle(raw, bundle="/bundles/shop", pod_id="shop", base_memory=256)
    return msgspec.convert(data, PodConfig), warnings


def test_a_usual_bundle_becomes_a_pod_without_a_warning() -> None:
    pod, warnings = translate(USUAL)
    assert warnings == []
    assert (pod.id, pod.hostname) == ("shop", "shop")
    assert (pod.vm_config.memory, pod.vm_config.vcpus) == (257, 2)
    limits = pod.containers[0].resources
    assert (limits.cpu_quota, limits.cpu_period) == (150_000, 100_000)
    assert (limits.memory_limit, limits.cpu_shares, limits.pids_limit) == (
        256 * 1024**2 + 1,
        512,
        99,
    )
    (rule,) = limits.devices
    assert (rule.allow, rule.type, rule.access) == (False, "a", "rwm")
    (container,) = pod.containers
    assert (container.id, container.rootfs) == ("shop", "/bundles/shop/rootfs")
    assert container.readonly_rootfs
    cmd = container.cmd
    assert cmd.args == ("sleep", "5")
    assert [str(each) for each in cmd.envs] == ["PATH=/bin", "A=b=c", "EMPTY="]
    assert (cmd.work_dir, cmd.user, cmd.primary_group) == ("/srv", "7", "8")
    assert cmd.supplementary_groups == ("9", "10")
    assert cmd.interactive
    assert cmd.no_new_privileges
    assert cmd.capabilities is not None
    assert cmd.capabilities.bounding == ("CAP_KILL",)
    assert cmd.capabilities.ambient == ()
    data, tmp = container.mounts
    assert (data.source, data.type, data.read_only, data.options) == (
        "data",
        "bind",
        True,
        ("rbind",),
    )
    assert (tmp.destination, tmp.type, tmp.options) == ("/tmp", "tmpfs", ("size=1m",))
    assert pod.annotations == container.annotations
    assert pod.annotations == {
        "org.example": "kept",
        "com.github.containers.virtcontainers.pkg.oci.bundle_path": "/bundles/shop",
        "com.github.containers.virtcontainers.pkg.oci.container_type": "pod_sandbox",
    }


def test_the_old_form_of_capabilities_is_for_all_sets() -> None:
    pod, _ = translate(changed("process.capabilities", ["CAP_KILL"]))
    capabilities = pod.containers[0].cmd.capabilities
    assert capabilities is not None
    assert {getattr(capabilities, name) for name in capabilities.__struct_fields__} == {
        ("CAP_KILL",)
    }
    pod, _ = translate(changed("process.capabilities", None))
    assert pod.containers[0].cmd.capabilities is None


def test_without_limits_the_machine_has_its_usual_size() -> None:
    pod, warnings = translate(changed("linux.resources", {"cpu": {"quota": -1}}))
    assert (pod.vm_config.memory, pod.vm_config.vcpus) == (0, 0)
    assert warnings == []


def test_a_limit_below_a_machines_usual_size_is_only_the_containers() -> None:
    pod, _ = translate(changed("linux.resources.memory", {"limit": 64 * 1024**2}))
    assert pod.vm_config.memory == 0
    assert pod.containers[0].resources.memory_limit == 64 * 1024**2


def test_the_linux_section_is_the_containers() -> None:
    document = changed(
        "linux.seccomp",
        {
            "defaultAction": "SCMP_ACT_ALLOW",
            "defaultErrnoRet": 1,
            "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [
                {
                    "names": ["kill"],
                    "action": "SCMP_ACT_ERRNO",
                    "errnoRet": 5,
                    "args": [{"index": 1, "value": 10, "op": "SCMP_CMP_EQ"}],
                }
            ],
        },
    )
    document["linux"] |= {
        "sysctl": {"net.core.somaxconn": "9"},
        "rootfsPropagation": "rslave",
        "devices": [
            {"path": "/dev/null", "type": "c", "major": 1, "minor": 3},
            {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o20600},
        ],
    }
    document["process"] |= {"oomScoreAdj": -5}
    pod, warnings = translate(document)
    assert warnings == []
    (container,) = pod.containers
    linux = container.linux
    assert linux.seccomp is not None
    (rule,) = linux.seccomp.syscalls
    assert (rule.names, rule.errno_ret, rule.args[0].value) == (("kill",), 5, 10)
    assert (linux.sysctl, linux.rootfs_propagation) == ({"net.core.somaxconn": "9"}, "rslave")
    assert linux.masked_paths == ("/proc/acpi", "/proc/kcore")
    assert linux.readonly_paths == ("/proc/bus",)
    (device,) = container.device_infos
    assert (device.container_path, device.major, device.file_mode) == ("/dev/fuse", 10, 0o600)
    assert container.cmd.oom_score_adj == -5
    assert [(one.type, one.soft) for one in container.cmd.rlimits] == [("RLIMIT_NOFILE", 1024)]


def test_hooks_of_the_host_are_the_pods_and_those_of_the_container_its_own() -> None:
    kinds = ("prestart", "createRuntime", "poststart", "poststop", "startContainer")
    hooks = {kind: [{"path": f"/{kind}", "args": ["x"], "timeout": 3}] for kind in kinds}
    pod, warnings = translate(changed("hooks", hooks))
    assert warnings == []
    found = pod.hooks
    assert [hook.path for hook in found.pre_start] == ["/prestart", "/createRuntime"]
    assert [hook.path for hook in (*found.post_start, *found.post_stop)] == [
        "/poststart",
        "/poststop",
    ]
    (inside,) = pod.containers[0].start_hooks
    assert (inside.path, inside.args, inside.timeout) == ("/startContainer", ("x",), 3)


@pytest.mark.parametrize(
    ("mount", "said"),
    [
        ({"destination": "/sys", "type": "sysfs", "options": ["nosuid"]}, "mounted read-only"),
        (
            {"destination": "/dev", "type": "tmpfs", "options": ["size=1m"]},
            "of /dev: size=1m has no effect",
        ),
    ],
)
def test_options_of_usual_mounts_that_have_no_effect_are_named(
    mount: dict[str, Any], said: str
) -> None:
    _, (warning,) = translate(changed("mounts", [mount]))
    assert said in warning


def test_shared_memory_has_its_size() -> None:
    mount = {"destination": "/dev/shm", "type": "tmpfs", "options": ["size=9m"]}
    pod, warnings = translate(changed("mounts", [mount]))
    assert warnings == []
    assert pod.containers[0].mounts[0].options == ("size=9m",)


UNSUPPORTED = {
    "hooks": {"createContainer": [{"path": "/bin/true"}]},
    "domainname": "example.org",
    "linux.seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38},
    "linux.cgroupsPath": "/mine",
    "linux.uidMappings": [{"hostID": 1, "containerID": 0, "size": 1}],
    "linux.intelRdt": {"closID": "x"},
    "linux.resources.blockIO": {"weight": 5},
    "linux.resources.unified": {"memory.high": "1"},
    "linux.resources.cpu": {"mems": "0-1"},
    "linux.resources.memory": {"swap": 5},
    "linux.devices": [{"path": "/run/fuse", "type": "c"}],
    "linux.namespaces": [{"type": "user"}],
    "process.apparmorProfile": "mine",
    "process.user": {"uid": 1, "umask": 18},
    "mounts": [{"destination": "/x", "type": "nfs", "source": "a:/b"}],
    "annotations": {"io.kubernetes.cri.container-type": "container"},
}


@pytest.mark.parametrize("path", UNSUPPORTED)
def test_what_has_no_effect_is_named(path: str) -> None:
    _, warnings = translate(changed(path, UNSUPPORTED[path]))
    assert len(warnings) == 1
    assert warnings[0].startswith(path)


def test_what_replaces_a_system_mount_is_named() -> None:
    mount = {"destination": "/proc", "source": "/proc", "options": ["rbind"]}
    _, warnings = translate(changed("mounts", [mount]))
    assert warnings == ["mounts[0].destination /proc cannot be replaced; the mount is left out"]


WRONG = {
    "linux": (None, "linux is missing"),
    "root": (None, "root.path is missing"),
    "process": ([], "process must be a table"),
    "process.args": ("sleep 5", "process.args must be a list of strings"),
    "process.capabilities": (5, "process.capabilities must be a table"),
    "process.terminal": ("yes", "process.terminal must be true or false"),
    "process.user.uid": (-1, "process.user.uid is -1"),
    "process.user.additionalGids": (["a"], "additionalGids must be a list of integers"),
    "linux.resources.memory.limit": (0, "linux.resources.memory.limit is 0"),
    "linux.resources.cpu.period": (0, "linux.resources.cpu.period is 0"),
    "annotations": ({"io.kubernetes.cri.container-type": "x"}, "must be one of"),
}


@pytest.mark.parametrize("path", WRONG)
def test_what_is_wrong_is_named(path: str) -> None:
    value, words = WRONG[path]
    with pytest.raises(InvalidConfig) as caught:
        translate(changed(path, value))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "kind"),
    [
        ("io.kubernetes.cri.container-type", "sandbox", "pod_sandbox"),
        ("io.kubernetes.cri-o.ContainerType", "container", "pod_container"),
        ("io.kubernetes.docker.type", "podsandbox", "pod_sandbox"),
        ("unrelated", "container", "pod_sandbox"),
    ],
)
def test_the_type_is_what_a_cri_server_noted(key: str, value: str, kind: str) -> None:
    assert oci.container_type({key: value}) == kind


def test_the_pod_that_was_meant_is_said() -> None:
    notes = {"io.kubernetes.cri-o.ContainerType": "container", "io.kubernetes.cri-o.SandboxID": "p"}
    _, warnings = translate(changed("annotations", notes))
    assert warnings == [
        "annotations say that it is a container of pod 'p'; it becomes a pod of its own"
    ]


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=6,
)
_PATHS = st.sampled_from([*UNSUPPORTED, *WRONG, "root.path", "hostname", "process.env", "mounts"])


@given(st.lists(st.tuples(_PATHS, _VALUES), max_size=3))
def test_any_document_is_a_pod_or_an_error_of_ours(changes: list[tuple[str, Any]]) -> None:
    document = json.loads(json.dumps(USUAL))
    for path, value in changes:
        table = document
        *above, last = path.split(".")
        for key in above:
            table = table.setdefault(key, {}) if isinstance(table, dict) else {}
        if isinstance(table, dict):
            table[last] = value
    with contextlib.suppress(FileProblem, InvalidConfig):
        translate(document)


@given(st.binary(max_size=40))
def test_bytes_that_are_no_document_are_refused(raw: bytes) -> None:
    with contextlib.suppress(FileProblem, InvalidConfig):
        oci.pod_of_bundle(raw, bundle="/b", pod_id="shop", base_memory=256)
