"""Model → messages: what a real kata-agent needs, and nothing that it refuses."""

from __future__ import annotations

import msgspec
import pytest

from vctui.drivers.agents import words
from vctui.drivers.agents.base import ContainerSpec, GuestDevice, GuestDisk, SharedMount
from vctui.drivers.agents.kata import answers, requests
from vctui.drivers.hypervisors.base import Place
from vctui.drivers.ttrpc_client import CallFailed
from vctui.errors import AgentError, AgentUnsupported, CommandFailed
from vctui.model.container import Capabilities, Cmd, ContainerConfig, EnvVar, Mount
from vctui.model.device import DeviceInfo
from vctui.model.hook import Hook
from vctui.model.kinds import DeviceType, SharedFs
from vctui.model.linux import ContainerResources, DeviceRule, Linux, Rlimit
from vctui.model.seccomp import Seccomp, SeccompArg, SeccompRule
from vctui.wire import ttrpc

BIND = Mount(destination="/data", source="/srv", read_only=True)
PLACE = Place(pci_path="01/00/01")
TMPFS = Mount(destination="/tmp", type="tmpfs", options=("size=1m",))


def spec(cmd: Cmd | None = None, **fields: object) -> ContainerSpec:
    config = ContainerConfig(id="c1", rootfs="/r", cmd=cmd or Cmd(args=("sh",)), **fields)
    shared = tuple(
        SharedMount(mount=mount, shared=f"c1/mounts/{number}")
        for number, mount in enumerate(config.mounts)
        if mount.type == "bind"
    )
    return ContainerSpec(config=config, hostname="web", rootfs="c1/rootfs", mounts=shared)


def test_a_sandbox_mounts_the_share():
    request = requests.create_sandbox("web", "h" * 80)
    assert request.sandbox_id == "web"
    assert len(request.hostname) == 64
    (share,) = request.storages
    assert (share.driver, share.source, share.fstype) == ("9p", "kataShared", "9p")
    assert share.mount_point == "/run/kata-containers/shared/containers/"


def test_virtio_fs_is_mounted_by_its_tag():
    request = requests.create_sandbox("web", "h", (), SharedFs.VIRTIO_FS, ["site"])
    share, volume = request.storages
    assert (share.driver, share.source, share.fstype) == ("virtio-fs", "kataShared", "virtiofs")
    assert share.mount_point == "/run/kata-containers/shared/containers/"
    assert list(share.options) == ["nodev"]
    assert (volume.driver, volume.source, volume.fstype) == ("virtio-fs", "site", "virtiofs")
    assert volume.mount_point == "/run/kata-containers/shared/volumes/site/"


def test_a_container_has_what_real_agents_insist_on():
    request = requests.create_container(spec())
    oci = request.OCI
    assert oci.root.Path == "/run/kata-containers/shared/containers/c1/rootfs"
    mounts = {mount.destination: mount for mount in oci.Mounts}
    assert mounts["/dev"].type == "tmpfs"
    assert mounts["/sys"].type == "sysfs"
    assert {"/proc", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys/fs/cgroup"} <= set(mounts)
    assert [namespace.Type for namespace in oci.linux.Namespaces] == ["ipc", "uts", "mount"]
    assert oci.linux.HasField("Resources")
    assert not oci.linux.Resources.Devices[0].Allow
    assert oci.linux.CgroupsPath == "/vctui/c1"
    assert oci.Hostname == "web"
    assert not request.HasField("string_user")
    assert not oci.linux.HasField("Seccomp")


def test_limits_arrive_and_device_rules_stand_before_the_usual_ones():
    limits = ContainerResources(
        cpu_quota=50_000,
        cpu_shares=512,
        memory_limit=2**26,
        pids_limit=9,
        hugepage_limits={"2MB": 2**21},
        devices=(
            DeviceRule(allow=False),
            DeviceRule(allow=True, type="c", major=10, minor=200, access="rw"),
        ),
    )
    made = requests.oci_spec(spec(resources=limits)).linux.Resources
    assert (made.CPU.Quota, made.CPU.Period, made.CPU.Shares) == (50_000, 100_000, 512)
    assert (made.Memory.Limit, made.Pids.Limit) == (2**26, 9)
    assert [(each.Pagesize, each.Limit) for each in made.HugepageLimits] == [("2MB", 2**21)]
    first, second, *rest = made.Devices
    assert (first.Allow, first.Type) == (False, "a")
    assert (second.Major, second.Minor, second.Access) == (10, 200, "rw")
    assert all(rule.Allow for rule in rest)
    plain = requests.oci_spec(spec()).linux.Resources
    assert not plain.HasField("CPU")
    assert not plain.HasField("Memory")
    assert not plain.Devices[0].Allow


def test_folders_in_memory_are_mounted_once_by_the_agent():
    own = Mount(destination="/a", type="memory-dir", source="cache", options=("size=1m",))
    again = Mount(destination="/b", type="memory-dir", source="cache", read_only=True)
    request = requests.create_container(spec(mounts=(own, again)))
    (storage,) = request.storages
    assert (storage.driver, storage.fstype, list(storage.options)) == (
        "ephemeral",
        "tmpfs",
        ["size=1m"],
    )
    first, second = request.OCI.Mounts[-2:]
    assert first.source == second.source == storage.mount_point
    assert (list(first.options)[-1], list(second.options)[-1]) == ("rw", "ro")


def test_what_the_kernel_grants_arrives():
    rule = SeccompRule(
        names=("kill",),
        action="SCMP_ACT_ERRNO",
        errno_ret=0,
        args=(SeccompArg(index=1, value=10, op="SCMP_CMP_MASKED_EQ", value_two=2),),
    )
    linux = Linux(
        sysctl={"net.core.somaxconn": "9"},
        masked_paths=("/a",),
        readonly_paths=(),
        rootfs_propagation="shared",
        seccomp=Seccomp(default_action="SCMP_ACT_ALLOW", syscalls=(rule,)),
    )
    limit = Rlimit(type="RLIMIT_CORE", soft=1, hard=2)
    cmd = Cmd(args=("sh",), rlimits=(limit,), oom_score_adj=7)
    hook = Hook(path="/bin/prepare", env=("A=b",), timeout=3)
    made = requests.oci_spec(spec(cmd, linux=linux, start_hooks=(hook,)))
    assert dict(made.linux.Sysctl) == {"net.core.somaxconn": "9"}
    assert (list(made.linux.MaskedPaths), list(made.linux.ReadonlyPaths)) == (["/a"], [])
    assert made.linux.RootfsPropagation == "shared"
    (call,) = made.linux.Seccomp.Syscalls
    assert (call.HasField("errnoret"), call.errnoret) == (True, 0)
    assert (call.Args[0].Index, call.Args[0].Value, call.Args[0].ValueTwo) == (1, 10, 2)
    (inside,) = made.hooks.StartContainer
    assert (inside.Path, list(inside.Args), inside.Timeout) == ("/bin/prepare", ["/bin/prepare"], 3)
    limits = {one.Type: (one.Soft, one.Hard) for one in made.process.Rlimits}
    assert limits == {"RLIMIT_CORE": (1, 2), "RLIMIT_NOFILE": (1024, 1024)}
    assert made.process.OOMScoreAdj == 7
    more = Rlimit(type="RLIMIT_NOFILE", soft=5, hard=6)
    (only,) = requests.process(Cmd(args=("sh",), rlimits=(more,))).Rlimits
    assert (only.Soft, only.Hard) == (5, 6)


def test_mounts_stand_in_their_order_and_replace_the_usual_ones():
    own_dev = Mount(destination="/dev/shm", type="tmpfs", options=("size=1g",))
    oci = requests.oci_spec(spec(mounts=(BIND, TMPFS, own_dev), readonly_rootfs=True))
    assert oci.root.Readonly
    last = oci.Mounts[-3:]
    assert [mount.destination for mount in last] == ["/data", "/tmp", "/dev/shm"]
    assert last[0].source == "/run/kata-containers/shared/containers/c1/mounts/0"
    assert list(last[0].options) == ["rbind", "rprivate", "ro"]
    assert list(last[1].options) == ["nosuid", "nodev", "size=1m", "rw"]
    assert [mount.destination for mount in oci.Mounts].count("/dev/shm") == 1


@pytest.mark.parametrize(
    ("cmd", "user", "string_user"),
    [
        (Cmd(args=("a",)), (0, 0, "", []), None),
        (Cmd(args=("a",), user="1000:100"), (1000, 100, "1000", []), ("1000", "100", [])),
        (
            Cmd(args=("a",), user="www:web", supplementary_groups=("7", "audio")),
            (0, 0, "www", [7]),
            ("www", "web", ["7", "audio"]),
        ),
        (
            Cmd(args=("a",), user="5:6", primary_group="9"),
            (5, 9, "5", []),
            ("5", "9", []),
        ),
    ],
)
def test_users_are_numbers_where_they_can_be(cmd, user, string_user):
    made = requests.user(cmd)
    assert (made.UID, made.GID, made.Username, list(made.AdditionalGids)) == user
    named = requests.string_user(cmd)
    if string_user is None:
        assert named is None
    else:
        assert named is not None
        assert (named.uid, named.gid, list(named.additionalGids)) == string_user


def test_the_environment_has_defaults_that_the_command_overrides():
    plain = requests.environment(Cmd(args=("a",)))
    assert len(plain) == 1
    assert plain[0].startswith("PATH=/")
    terminal = Cmd(args=("a",), interactive=True, envs=(EnvVar(var="PATH", value="/x"),))
    assert requests.environment(terminal) == ["TERM=xterm", "PATH=/x"]


def test_capabilities_are_the_usual_ones_unless_given():
    usual = requests.capabilities(None)
    assert len(usual.Bounding) == 14
    assert list(usual.Bounding) == list(usual.Effective) == list(usual.Permitted)
    none = requests.capabilities(Capabilities())
    assert list(none.Bounding) == []


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("executable file `nope` not found in $PATH: No such file or directory", 127),
        ('exec: "nope": executable file not found in $PATH', 127),
        ("stat /nope: no such file or directory", 127),
        ("ENOENT: No such file or directory\n\nStack backtrace:\n 0: anyhow", None),
        ("get message from child: the file /sbin/mount was not found\n\nStack backtrace:\n", 127),
        ("the file nope is not exist", 127),
        ("EACCES: Permission denied", None),
        ("open executable: Permission denied", 126),
        ("exec format error", 126),
        ("chdir to `/nope`: No such file or directory", None),
        ("mount `proc` to `/proc`: Permission denied", None),
        ("storage /run/kata-containers/disks/c1: No such file or directory", None),
        ("container c1 already exists", None),
    ],
)
def test_what_an_agent_says_of_a_command(message, status):
    error = answers.refused("StartContainer", "in pod 'web'", CallFailed(13, message))
    failed = words.command_failed("nope", "c1", error)
    if status is None:
        assert failed is error
    else:
        assert isinstance(failed, CommandFailed)
        assert failed.exit_code == status
        assert "\n" not in str(failed)


def test_errors_of_an_agent_are_one_clean_line():
    error = answers.refused("X", "in pod 'web'", CallFailed(13, "bad\x1b[2J\nthing" + "y" * 1000))
    assert isinstance(error, AgentError)
    assert not any(ord(c) < 32 for c in str(error))
    assert len(str(error)) < 400


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (12, "no"),
        (3, "vctui.Guest service does not exist"),
        (3, "/vctui.Guest/X does not exist"),
        (5, "/grpc.AgentService/X is not supported"),
    ],
)
def test_a_call_that_an_agent_lacks_is_told_from_any_other_refusal(code: int, message: str):
    missing = answers.refused("X", "in pod 'web'", CallFailed(code, message))
    assert isinstance(missing, AgentUnsupported)
    assert missing.code == ttrpc.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("code", "message", "now"),
    [
        (3, "container c1 does not exist", 3),
        (3, "the file /a/X does not exist", 3),
        (13, "Invalid container id\n\nStack backtrace:", 5),
        (13, '"Invalid exec id"', 5),
        (13, "cannot find init process!", 5),
        (13, "the file service does not exist", 13),
    ],
)
def test_what_is_gone_has_one_code(code: int, message: str, now: int):
    error = answers.refused("Y", "in pod 'web'", CallFailed(code, message))
    assert not isinstance(error, AgentUnsupported)
    assert error.code == now


def test_a_volume_is_a_storage_of_the_sandbox_and_a_bind_mount_of_the_container():
    _, storage = requests.create_sandbox("web", "h", volumes=["site"]).storages
    assert (storage.driver, storage.fstype, storage.source) == ("9p", "9p", "site")
    assert storage.mount_point == "/run/kata-containers/shared/volumes/site/"
    mounts = tuple(
        Mount(type="volume", source="site", destination=path, read_only=path == "/ro")
        for path in ("/rw", "/ro")
    )
    request = requests.create_container(spec(mounts=mounts))
    assert not request.storages
    bound = [(one.type, one.source, list(one.options)) for one in request.OCI.Mounts[-2:]]
    assert bound == [
        ("bind", storage.mount_point[:-1], ["rbind", "rprivate", access]) for access in ("rw", "ro")
    ]


def with_devices(plain: ContainerSpec, *devices: GuestDevice) -> ContainerSpec:
    return msgspec.structs.replace(plain, devices=devices)


def test_devices_are_made_and_allowed():
    infos = (
        DeviceInfo(container_path="/dev/a", major=10, minor=229, file_mode=0o600, uid=5, gid=6),
        DeviceInfo(container_path="/dev/b", dev_type=DeviceType.UNBUFFERED, major=1, minor=5),
        DeviceInfo(container_path="/dev/p", dev_type=DeviceType.FIFO),
    )
    plain = spec()
    linux = requests.oci_spec(with_devices(plain, *(GuestDevice(info=one) for one in infos))).linux
    made = [(d.Path, d.Type, d.Major, d.Minor, d.FileMode, d.UID, d.GID) for d in linux.Devices]
    assert made == [
        ("/dev/a", "c", 10, 229, 0o600, 5, 6),
        ("/dev/b", "u", 1, 5, 0o666, 0, 0),
        ("/dev/p", "p", 0, 0, 0o666, 0, 0),
    ]
    rules = linux.Resources.Devices[len(requests.oci_spec(plain).linux.Resources.Devices) :]
    allowed = [(rule.Allow, rule.Type, rule.Major, rule.Minor, rule.Access) for rule in rules]
    assert allowed == [(True, "c", 10, 229, "rwm"), (True, "c", 1, 5, "rwm")]


def test_a_device_that_was_passed_through_is_the_guests_kernels():
    info = DeviceInfo(container_path="/dev/vfio/7", host_path="/dev/vfio/7", major=240, id="vfio-1")
    passed = GuestDevice(info=info, place=PLACE, passed="0000:03:00.0")
    request = requests.create_container(with_devices(spec(), passed))
    (device,) = request.devices
    assert (device.type, device.id, device.container_path) == (
        *("vfio-pci-gk", "vfio-1", "/dev/vfio/7"),
    )
    assert device.options == ["0000:03:00.0=01/00/01"]
    plain = requests.create_container(spec())
    assert request.OCI.linux == plain.OCI.linux


@pytest.mark.parametrize(
    ("disk", "options", "folder"),
    [
        (GuestDisk(place=PLACE, filesystem="ext4"), [], "c1"),
        (GuestDisk(place=PLACE, filesystem="ext4", read_only=True), ["ro", "noload"], "c1"),
        (GuestDisk(place=PLACE, filesystem="xfs", folder="a/b"), ["nouuid"], "c1/a/b"),
        (
            GuestDisk(place=PLACE, filesystem="xfs", read_only=True),
            ["ro", "norecovery", "nouuid"],
            "c1",
        ),
        (GuestDisk(place=PLACE, filesystem="squashfs", read_only=True), ["ro"], "c1"),
    ],
)
def test_a_root_file_system_on_a_disk_is_mounted_by_the_agent(disk, options, folder):
    folder_too = Mount(type="memory-dir", source="data", destination="/data")
    on_disk = msgspec.structs.replace(spec(mounts=(folder_too,)), rootfs="", disk=disk)
    request = requests.create_container(on_disk)
    root, shared = request.storages
    assert (root.driver, root.source, root.fstype) == ("blk", "01/00/01", disk.filesystem)
    assert root.mount_point == "/run/kata-containers/shared/disks/c1"
    assert root.options == options
    assert request.OCI.root.Path == f"/run/kata-containers/shared/disks/{folder}"
    assert shared.driver == "ephemeral"


@pytest.mark.parametrize(
    ("place", "named"),
    [
        (Place(pci_path="01/00/01"), ("blk", "01/00/01")),
        (Place(scsi_address="0:3"), ("scsi", "0:3")),
    ],
)
def test_a_disk_that_was_plugged_in_is_named_by_its_place(place, named):
    info = DeviceInfo(
        container_path="/dev/data", host_path="/dev/sdb", dev_type=DeviceType.BLOCK, major=8
    )
    request = requests.create_container(with_devices(spec(), GuestDevice(info=info, place=place)))
    (device,) = request.devices
    assert (device.type, device.id, device.container_path) == (*named, "/dev/data")
    (node,) = request.OCI.linux.Devices
    assert (node.Path, node.Type, node.Major, node.Minor) == ("/dev/data", "b", 8, 0)
    rule = request.OCI.linux.Resources.Devices[-1]
    assert (rule.Allow, rule.Type, rule.Major, rule.Minor) == (True, "b", 8, 0)
