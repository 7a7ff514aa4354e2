"""The pod as the guest sees it: its name, its share, its containers."""

from __future__ import annotations

import os
import time

from vctui.errors import AgentError
from vctui.guest import plainfile
from vctui.guest.container import CREATED, Container
from vctui.guest.loop import Cancelled, Future
from vctui.guest.uevents import appears
from vctui.linux.ioctls import interface_up, use_queues
from vctui.wire import ttrpc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque

    from vctui.guest.children import Children
    from vctui.guest.config import Config
    from vctui.guest.crun import Crun
    from vctui.guest.firstgroup import FirstGroup
    from vctui.guest.log import Log
    from vctui.guest.loop import Loop, Task
    from vctui.guest.mounts import Mounts
    from vctui.wire.pb import agent_pb2 as agent
    from vctui.wire.pb import guest_pb2
else:
    from _collections import deque

_MAX_HOSTNAME = 64
_MAX_ID = 128
_MAX_CONTAINERS = 1000
_MAX_OOM_EVENTS = 256
_WORD = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")


class Sandbox:
    def __init__(
        self,
        loop: Loop,
        children: Children,
        crun: Crun,
        mounts: Mounts,
        config: Config,
        log: Log,
    ) -> None:
        self._loop = loop
        self._children = children
        self._crun = crun
        self._mounts = mounts
        self._config = config
        self._log = log
        self._folder = f"{config.kata}/sandbox"
        self._furnished = False
        self._prepared = False
        self._first_group: FirstGroup | None = None
        self._mount_points: list[str] = []
        self._oom_events: deque[str] = deque(maxlen=_MAX_OOM_EVENTS)
        self._oom_waiters: list[Future] = []
        self.containers: dict[str, Container] = {}

    async def create(self, request: agent.CreateSandboxRequest) -> None:
        """Make the guest the pod's: host name, resolver, loopback, storages.

        Raises:
            AgentError: a storage cannot be mounted.
        """
        if request.hostname:
            hostname = request.hostname.encode()[:_MAX_HOSTNAME]
            plainfile.write(f"{self._config.proc}/sys/kernel/hostname", hostname)
        self._furnish()
        if request.dns:
            lines = (line.replace("\n", " ") for line in request.dns)
            text = "".join(f"{line}\n" for line in lines)
            plainfile.replace(f"{self._folder}/resolv.conf", text.encode())
        before = self._mount_points
        self._mount_points = await self._mounts.add(request.storages)
        await self._mounts.remove(before)
        self._log.info(f"sandbox {request.sandbox_id or '(no id)'} is there")

    async def prepare(self, request: guest_pb2.PrepareRequest) -> None:
        """Have done what the containers of any pod would wait for; once."""
        from vctui.guest.spec import device_rules
        from vctui.guest.warmup import Warmup

        self._furnish()
        if not self._prepared:
            self._prepared = True
            warmup = Warmup(self._loop, self._children, self._config, self._log)
            devices = device_rules(request.devices)
            self._first_group = await warmup.do(self._crun, self._mounts, devices)

    def _furnish(self) -> None:
        """Once: what every pod has, whatever it is called."""
        if self._furnished:
            return
        self._furnished = True
        os.makedirs(self._folder, exist_ok=True)
        try:
            interface_up("lo")
        except OSError as error:
            self._log.warning(f"the loopback interface stays down: {error}")

    def container(self, container_id: str) -> Container:
        """
        Raises:
            AgentError: there is none of that id.
        """
        try:
            return self.containers[container_id]
        except KeyError:
            raise AgentError(
                f"there is no container {container_id!r}", code=ttrpc.INVALID_ARGUMENT
            ) from None

    async def create_container(self, request: agent.CreateContainerRequest) -> None:
        """
        Raises:
            AgentError: the id is illegal or in use, or the specification cannot be followed.
        """
        container_id = request.container_id
        check_id(container_id)
        if container_id in self.containers:
            raise AgentError(
                f"there is a container {container_id!r} already", code=ttrpc.ALREADY_EXISTS
            )
        if len(self.containers) >= _MAX_CONTAINERS:
            raise AgentError(
                f"there are {_MAX_CONTAINERS} containers already", code=ttrpc.RESOURCE_EXHAUSTED
            )
        container = Container(self._loop, self._crun, self._config, self._log, request)
        self.containers[container_id] = container
        container.creation = self._loop.start(self._create(container))
        await container.creation

    async def _create(self, container: Container) -> None:
        request = container.request
        try:
            if request.devices:
                from vctui.guest import devices

                await devices.bind(
                    self._loop, self._children, self._config, request.devices, request.OCI.linux
                )
            container.mount_points = await self._mounts.add(request.storages)
            container.create(self._pid_namespace(request))
        except BaseException as error:
            await self._mounts.remove(container.mount_points)
            del self.containers[container.id]
            if isinstance(error, Cancelled):
                raise AgentError(
                    f"container {container.id} was removed while it was made"
                ) from None
            raise

    async def start_container(self, container_id: str) -> None:
        container = self.container(container_id)
        request = container.request
        await container.start(
            self._pid_namespace(request), lambda: self._oom(container_id), self._first_group
        )

    def remove_container(self, container_id: str) -> Task:
        """Begin to remove a container, or join who has begun; the task goes on by itself.

        One that is still being made, by a host that is gone and would wait for a disk that does not
        come, is given up.

        Raises:
            AgentError: there is none of that id.
        """
        container = self.container(container_id)
        if container.removal is None:
            container.removal = self._loop.start(self._remove(container))
        return container.removal

    async def _remove(self, container: Container) -> None:
        if container.creation is not None and not container.creation.done:
            container.creation.cancel()
            try:
                await container.creation
            except AgentError:
                return
        await container.remove()
        del self.containers[container.id]
        await self._mounts.remove(container.mount_points)

    async def oom_event(self) -> str:
        """The id of a container that the kernel has killed in for want of memory."""
        while not self._oom_events:
            waiter = Future()
            self._oom_waiters.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._oom_waiters:
                    self._oom_waiters.remove(waiter)
        return self._oom_events.popleft()

    async def destroy(self) -> None:
        """Kill every container and write what is not on the host yet."""
        for container in self.containers.values():
            if container.state != CREATED:
                container.kill()
        os.sync()

    def _oom(self, container_id: str) -> None:
        self._log.warning(f"container {container_id} ran out of memory; the kernel killed in it")
        self._oom_events.append(container_id)
        waiters, self._oom_waiters = self._oom_waiters, []
        for waiter in waiters:
            waiter.succeed()

    def _pid_namespace(self, request: agent.CreateContainerRequest) -> str:
        """With `sandbox_pidns`, that of the first container that runs (sheet §7)."""
        if not request.sandbox_pidns:
            return ""
        for container in self.containers.values():
            if container.init.pid and not container.init.ended.done:
                return f"{self._config.proc}/{container.init.pid}/ns/pid"
        return ""


def check_id(container_id: str) -> None:
    """
    Raises:
        AgentError: it is no legal id (sheet §7), which is also one component of a path.
    """
    legal = 2 <= len(container_id) <= _MAX_ID and container_id[0] in _WORD
    if not legal or not set(container_id) <= _WORD | set("._-"):
        raise AgentError(
            f"{container_id[:_MAX_ID]!r} is no container id: 2 to {_MAX_ID} letters, digits, "
            "'.', '_' or '-', beginning with a letter or digit",
            code=ttrpc.INVALID_ARGUMENT,
        )


def set_clock(seconds: int, microseconds: int) -> None:
    """
    Raises:
        AgentError: it is no time, or the kernel refuses it.
    """
    if seconds < 0 or not 0 <= microseconds < 1_000_000:
        raise AgentError("that is no time", code=ttrpc.INVALID_ARGUMENT)
    try:
        time.clock_settime_ns(time.CLOCK_REALTIME, seconds * 10**9 + microseconds * 1000)
    except OSError as error:
        raise AgentError(f"the clock cannot be set: {error.strerror}") from error


async def online(loop: Loop, sys: str, cpus: int, *, memory: bool, patience: float = 10.0) -> None:
    """Set processors, until `cpus` are, and memory blocks online (sheet §7: OnlineCPUMem).

    Raises:
        AgentError: there are not so many processors after `patience` seconds.
    """
    found = 0

    def look() -> bool | None:
        nonlocal found
        found = _set_online(f"{sys}/devices/system/cpu", "cpu")
        if memory:
            _set_online(f"{sys}/devices/system/memory", "memory")
        return found >= cpus or None

    if not await appears(loop, look, patience):
        raise AgentError(f"{found} of {cpus} processors are online after {patience} s")
    _spread(f"{sys}/class/net", found)


def _spread(folder: str, cpus: int) -> None:
    """A network card's driver has taken as many queues as there were processors before."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return
    for name in names:
        use_queues(name, cpus)


def _set_online(folder: str, prefix: str) -> int:
    """Gives how many are online; those that cannot be switched are."""
    count = 0
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return 0
    for name in names:
        if not (name.startswith(prefix) and name[len(prefix) :].isdecimal()):
            continue
        count += 1
        switch = f"{folder}/{name}/online"
        try:
            if plainfile.read(switch).strip() != b"1":
                plainfile.write(switch, b"1")
        except FileNotFoundError:
            continue
        except OSError:
            count -= 1
    return count
