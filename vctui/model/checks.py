"""What a configuration must be beyond its types, whoever made it: a pod file, a library's caller.

Pure: what only this host can tell (does the folder exist, is there room) is checked where
it is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

import msgspec

from vctui.errors import InvalidConfig
from vctui.model import assets, ids, networkkeys, pairing, signals
from vctui.model.container import Cmd, ContainerConfig, Mount
from vctui.model.device import DeviceInfo
from vctui.model.documents import convert
from vctui.model.hook import Hook
from vctui.model.hypervisor import HypervisorConfig
from vctui.model.image import image_name
from vctui.model.kinds import DeviceType, MachineType
from vctui.model.linux import check_linux, check_resources, check_rlimits
from vctui.model.pod import PodConfig
from vctui.model.volume import MAX_VOLUMES, RESERVED_TAG, Volume

T = TypeVar("T")

MAX_VCPUS: Final = 240
"""What the original allowed on amd64; q35 without an interrupt-remapping IOMMU ends at 255."""
MAX_MEMORY: Final = 16 * 1024 * 1024
"""MiB. More is a slip of the unit."""
MAX_BRIDGES: Final = 5
"""Each has room for 30 devices; the root bus has 32 slots, and other devices need theirs."""
MAX_MAJOR: Final = 2**12 - 1
MAX_MINOR: Final = 2**20 - 1
MAX_ID: Final = 2**32 - 2
MOUNT_TYPES: Final = ("bind", "volume", "tmpfs", "empty-dir", "memory-dir")

_HOSTNAME: Final = re.compile(
    r"(?=.{1,64}\Z)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
    r"(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*\Z"
)
_FOLDER_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
_TAG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,30}\Z")
"""virtio-9p takes 31 bytes; the guest makes a folder of the name."""
_CAPABILITY: Final = re.compile(r"CAP_[A-Z0-9_]+\Z")


def check_pod(config: PodConfig, *, is_whole: bool = True) -> PodConfig:
    """Return `config` if it can be a pod, with the API's words turned into enumerations.

    Args:
        is_whole: what its guest says stands in it, so that it can be said what goes together.

    Raises:
        InvalidId: of the pod or one of its containers.
        InvalidConfig: naming the key's path.
    """
    config = _typed(config, PodConfig, "the pod's configuration")
    _no_nul(config)
    ids.check("pod", config.id)
    if config.hostname and not _HOSTNAME.match(config.hostname):
        raise InvalidConfig(
            f"hostname {config.hostname!r} is not a host name; use letters, digits and '-', "
            "64 characters at most"
        )
    named = assets.from_annotations(config.annotations)
    _in_range("vm_config.vcpus", config.vm_config.vcpus, MAX_VCPUS)
    _in_range("vm_config.memory", config.vm_config.memory, MAX_MEMORY)
    _check_hypervisor(assets.applied(config.hypervisor_config, named))
    if is_whole:
        pairing.check(config)
    check_annotations(config.annotations)
    for phase in config.hooks.__struct_fields__:
        for index, hook in enumerate(getattr(config.hooks, phase)):
            _check_hook(hook, f"hooks.{phase}[{index}].")
    networkkeys.check(config.network_model, config.network_config)
    _check_volumes(config.volumes)
    seen: dict[str, int] = {}
    for index, container in enumerate(config.containers):
        check_container(container, where=f"containers[{index}].")
        check_in_pod(config, container, where=f"containers[{index}].")
        if container.id in seen:
            raise InvalidConfig(
                f"containers[{index}].id {container.id!r} is taken by "
                f"containers[{seen[container.id]}]; give each container of a pod its own id"
            )
        seen[container.id] = index
    return config


def check_container(config: ContainerConfig, *, where: str = "") -> ContainerConfig:
    """As `check_pod`, for a container. `where` precedes the keys in errors.

    Raises:
        InvalidId, InvalidConfig: as `check_pod`.
    """
    config = _typed(config, ContainerConfig, where.rstrip(".") or "the container's configuration")
    _no_nul(config, where)
    ids.check("container", config.id)
    if config.rootfs and config.image:
        raise InvalidConfig(f"{where}rootfs and {where}image are both given; leave one out")
    if config.image:
        image_name(config.image, where=f"{where}image")
    elif config.entrypoint is not None:
        raise InvalidConfig(f"{where}entrypoint is given without an image; put it into cmd.args")
    elif not config.rootfs:
        raise InvalidConfig(
            f"{where}rootfs is missing; name a folder of the host, busybox for the built-in one, "
            f"or an image with {where}image"
        )
    check_cmd(config.cmd, where=f"{where}cmd.", may_be_empty=bool(config.image))
    check_annotations(config.annotations, where=f"{where}annotations")
    try:
        signals.stop_signal(config.annotations)
    except ValueError as error:
        raise InvalidConfig(f"{where}annotations.{signals.STOP_SIGNAL}: {error}") from error
    for index, mount in enumerate(config.mounts):
        _check_mount(mount, f"{where}mounts[{index}].")
    check_resources(config.resources, f"{where}resources.")
    check_linux(config.linux, f"{where}linux.")
    for index, hook in enumerate(config.start_hooks):
        _check_hook(hook, f"{where}start_hooks[{index}].")
    taken: dict[str, int] = {}
    for index, device in enumerate(config.device_infos):
        _check_device(device, f"{where}device_infos[{index}].")
        first = taken.setdefault(device.container_path, index)
        if first != index:
            raise InvalidConfig(
                f"{where}device_infos[{index}].container_path {device.container_path!r} is taken "
                f"by device_infos[{first}]; give each device a path of its own"
            )
    return config


def check_in_pod(pod: PodConfig, container: ContainerConfig, *, where: str = "") -> ContainerConfig:
    """Return `container` if the pod has the volumes that it mounts, and a shim for its console.

    Raises:
        InvalidConfig
    """
    pairing.check_console(pod, container.cmd, where=f"{where}cmd.")
    tags = [volume.mount_tag for volume in pod.volumes]
    for index, mount in enumerate(container.mounts):
        if mount.type == "volume" and mount.source not in tags:
            raise InvalidConfig(
                f"{where}mounts[{index}].source {mount.source!r} is no volume of pod {pod.id!r}; "
                f"it has {', '.join(tags) or 'none'}, name them in its volumes"
            )
    return container


def check_cmd(cmd: Cmd, *, where: str = "", may_be_empty: bool = False) -> Cmd:
    """Return `cmd` if it can be run, as `check_pod`. `may_be_empty`: an image says what to run.

    Raises:
        InvalidConfig
    """
    cmd = _typed(cmd, Cmd, where.rstrip(".") or "the command")
    _no_nul(cmd, where)
    if not (cmd.args and cmd.args[0]) and not (may_be_empty and not cmd.args):
        raise InvalidConfig(f"{where}args is empty; its first item names the program to run")
    if cmd.work_dir and not cmd.work_dir.startswith("/"):
        raise InvalidConfig(f"{where}work_dir {cmd.work_dir!r} is not absolute; begin it with '/'")
    if cmd.console and not cmd.console.startswith("/"):
        raise InvalidConfig(
            f"{where}console {cmd.console!r} is not absolute; name a terminal of the host, "
            "like /dev/pts/3"
        )
    for index, env in enumerate(cmd.envs):
        if not env.var or "=" in env.var:
            raise InvalidConfig(
                f"{where}envs[{index}].var {env.var!r} is no name of a variable; it must be "
                "there and have no '='"
            )
    if cmd.capabilities is not None:
        for name in cmd.capabilities.__struct_fields__:
            for index, capability in enumerate(getattr(cmd.capabilities, name)):
                if not _CAPABILITY.match(capability):
                    raise InvalidConfig(
                        f"{where}capabilities.{name}[{index}] {capability!r} is no capability; "
                        "use names like CAP_NET_ADMIN"
                    )
    check_rlimits(cmd.rlimits, f"{where}rlimits")
    if not -1000 <= cmd.oom_score_adj <= 1000:
        raise InvalidConfig(f"{where}oom_score_adj is {cmd.oom_score_adj} but can be -1000 to 1000")
    return cmd


def _check_hypervisor(config: HypervisorConfig) -> None:
    where = "hypervisor_config."
    _in_range(f"{where}default_vcpus", config.default_vcpus, MAX_VCPUS)
    _in_range(f"{where}default_mem_sz", config.default_mem_sz, MAX_MEMORY)
    _in_range(f"{where}default_bridges", config.default_bridges, MAX_BRIDGES)
    if config.hypervisor_machine_type is MachineType.MICROVM:
        _check_microvm(config, where)
    if config.image_path and config.initrd_path:
        raise InvalidConfig(
            f"{where}image_path and {where}initrd_path are both set, but a guest has one root; "
            "leave one of them out"
        )
    if config.mlock and not config.realtime:
        raise InvalidConfig(
            f"{where}mlock has no effect without {where}realtime; set realtime = true as well, "
            "or leave mlock out"
        )


def _check_microvm(config: HypervisorConfig, where: str) -> None:
    if config.default_bridges:
        raise InvalidConfig(
            f"{where}default_bridges is {config.default_bridges}, but a microvm has no PCI; "
            "leave it out, or choose the machine type q35"
        )
    if "nvdimm" in config.machine_accelerators:
        raise InvalidConfig(
            f"{where}machine_accelerators asks for an nvdimm, which a microvm cannot have; "
            "leave it out, or choose the machine type q35"
        )


def check_annotations(annotations: dict[str, str], *, where: str = "annotations") -> dict[str, str]:
    """Return `annotations` if a pod or container can have them. Raises InvalidConfig."""
    for key, value in annotations.items():
        if not isinstance(key, str) or not isinstance(value, str) or not key:
            raise InvalidConfig(
                f"{where} must be a table of strings under names that are not empty, not "
                f"{key!r} = {value!r}"
            )
    _no_nul(annotations, where)
    return annotations


def _check_device(device: DeviceInfo, where: str) -> None:
    path = device.container_path
    if not path.startswith("/dev/") or {"", ".", ".."} & set(path.split("/")[2:]):
        raise InvalidConfig(
            f"{where}container_path {path!r} is no path below /dev; device nodes can be made there"
        )
    numbers = device.major or device.minor
    if device.dev_type is DeviceType.FIFO:
        if device.host_path or numbers:
            raise InvalidConfig(
                f"{where}host_path and numbers mean nothing for a FIFO; leave them out"
            )
    elif not numbers and not device.host_path.startswith("/"):
        raise InvalidConfig(
            f"{where}host_path {device.host_path!r} is not absolute; name the device's node on "
            "the host, or its major and minor number"
        )
    for name, largest in (
        *(("major", MAX_MAJOR), ("minor", MAX_MINOR), ("file_mode", 0o7777)),
        *(("uid", MAX_ID), ("gid", MAX_ID)),
    ):
        _in_range(where + name, getattr(device, name), largest)
    if device.hotplugged or device.id:
        raise InvalidConfig(f"{where}hotplugged and id are reported, not chosen; leave them out")


def _check_hook(hook: Hook, where: str) -> None:
    if not hook.path.startswith("/"):
        raise InvalidConfig(
            f"{where}path {hook.path!r} is not absolute; name the program by its whole path"
        )
    for index, variable in enumerate(hook.env):
        if variable.find("=") < 1:
            raise InvalidConfig(
                f'{where}env[{index}] {variable!r} is not "NAME=value"; write it so'
            )
    if hook.timeout < 0:
        raise InvalidConfig(
            f"{where}timeout is {hook.timeout} but cannot be negative; 0 means without end"
        )


def _check_mount(mount: Mount, where: str) -> None:
    if not mount.destination.startswith("/") or not mount.destination.strip("/"):
        raise InvalidConfig(
            f"{where}destination {mount.destination!r} is not an absolute path below '/'; "
            "it is a path in the container"
        )
    if ".." in mount.destination.split("/"):
        raise InvalidConfig(f"{where}destination {mount.destination!r} has '..'; write it without")
    if mount.type not in MOUNT_TYPES:
        raise InvalidConfig(
            f"{where}type {mount.type!r} is not supported; use one of {', '.join(MOUNT_TYPES)}"
        )
    if mount.type in {"empty-dir", "memory-dir"} and not _FOLDER_NAME.match(mount.source):
        raise InvalidConfig(
            f"{where}source {mount.source!r} is no name of an empty folder; use letters, digits, "
            "'.', '_' and '-', beginning with a letter or digit"
        )
    if mount.host_path:
        raise InvalidConfig(f"{where}host_path is reported, not chosen; leave it out")
    if mount.type == "bind" and not mount.source:
        raise InvalidConfig(f"{where}source is empty; name the folder or file of the host")


def _typed(config: object, type_: type[T], source: str) -> T:
    """A caller of the library gets no types checked where it makes a structure."""
    try:
        return convert(msgspec.to_builtins(config), type_, source=source)
    except TypeError as error:
        raise InvalidConfig(f"{source} cannot be used: {error}; use its own types") from error


def _check_volumes(volumes: Sequence[Volume]) -> None:
    if len(volumes) > MAX_VOLUMES:
        raise InvalidConfig(
            f"volumes has {len(volumes)} items but a machine takes {MAX_VOLUMES}; "
            "share a folder above several of them"
        )
    tags: list[str] = []
    for index, volume in enumerate(volumes):
        where = f"volumes[{index}]."
        if not _TAG.match(volume.mount_tag) or volume.mount_tag == RESERVED_TAG:
            raise InvalidConfig(
                f"{where}mount_tag {volume.mount_tag!r} cannot be used; take 1 to 31 letters, "
                f"digits, '.', '_' or '-', beginning with a letter or digit, not {RESERVED_TAG}"
            )
        if volume.mount_tag in tags:
            raise InvalidConfig(
                f"{where}mount_tag {volume.mount_tag!r} is taken by "
                f"volumes[{tags.index(volume.mount_tag)}]; give each volume a tag of its own"
            )
        tags.append(volume.mount_tag)
        if not volume.host_path.startswith("/"):
            raise InvalidConfig(
                f"{where}host_path {volume.host_path!r} is not absolute; begin it with '/'"
            )


def _in_range(where: str, value: int, largest: int) -> None:
    if value < 0:
        raise InvalidConfig(f"{where} is {value} but cannot be negative; 0 means the default")
    if value > largest:
        raise InvalidConfig(f"{where} is {value} but can be {largest} at most")


def _no_nul(value: object, where: str = "") -> None:
    """No string of a kernel interface can hold a NUL byte."""
    for path, text in _strings(value, where.rstrip(".")):
        if "\0" in text:
            raise InvalidConfig(f"{path} holds a NUL character; remove it")


def _strings(value: object, path: str) -> Iterable[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _strings(getattr(value, name), f"{path}.{name}" if path else name)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _strings(key, path)
            yield from _strings(item, f"{path}.{key}")
    elif isinstance(value, Sequence):
        for index, item in enumerate(value):
            yield from _strings(item, f"{path}[{index}]")
