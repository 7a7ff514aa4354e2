"""The virtcontainers 1.0 API as its document has it: a function for each of its functions, and
the handles VCPod and VCContainer.

    pod = await run_pod(config)
    for container in pod.get_all_containers():
        print(container.id, container.get_pid())

Every function takes complete ids and, as `runtime`, an open Runtime. Without one it opens a
Runtime of its own for the length of the call, from the settings of `config.toml`. Whatever the
function, it may raise

- InvalidId where an id cannot be one, the pod's first;
- NotFound where there is no such pod or container;
- WrongState where the state machine forbids it, and then nothing has changed;
- ReadOnly where `runtime` refuses changes, for every function that changes something;
- HostProblem, HypervisorError, AgentError, MonitorError or StoreError where a part of the pod or
  of the host fails. What was begun is undone then.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping

from vctui import settings
from vctui.engine.runtime import Runtime
from vctui.errors import NotFound
from vctui.model import ids
from vctui.model.container import (
    Cmd,
    ContainerConfig,
    ContainerStatus,
    Process,
    ProcessListOptions,
)
from vctui.model.pod import PodConfig, PodStatus


class VCPod:
    """API: VCPod. A pod as the function that returned it left it, its last look for delete_pod.

    What others change later is not seen here: ask `status_pod`.
    """

    def __init__(self, status: PodStatus, runtime: Runtime | None = None) -> None:
        self._status = status
        self._runtime = runtime
        self._annotations = dict(status.annotations)

    @property
    def id(self) -> str:
        """The pod's id (API: ID)."""
        return self._status.id

    def annotations(self, key: str) -> str:
        """The annotation of that name (API: Annotations). Raises NotFound."""
        try:
            return self._annotations[key]
        except KeyError:
            raise NotFound(
                f"pod {self.id!r} has no annotation {key!r}; get_annotations lists what it has"
            ) from None

    def get_annotations(self) -> dict[str, str]:
        """All annotations, as a copy (API: GetAnnotations)."""
        return dict(self._annotations)

    async def set_annotations(self, annotations: Mapping[str, str]) -> None:
        """Merge into the pod's annotations, whatever its state (API: SetAnnotations).

        Raises:
            NotFound: the pod was deleted.
            InvalidConfig: a key or value cannot be one.
        """
        async with _opened(self._runtime) as runtime:
            status = await runtime.set_annotations(self.id, dict(annotations))
        self._annotations = dict(status.annotations)

    def get_all_containers(self) -> tuple[VCContainer, ...]:
        """The containers in the order of their creation (API: GetAllContainers)."""
        return tuple(
            VCContainer(self, status, self._runtime) for status in self._status.containers_status
        )

    def get_container(self, container_id: str) -> VCContainer | None:
        """The container of that id, None where there is none (API: GetContainer)."""
        for one in self.get_all_containers():
            if one.id == container_id:
                return one
        return None


class VCContainer:
    """API: VCContainer. A container as the function that returned it left it."""

    def __init__(self, pod: VCPod, status: ContainerStatus, runtime: Runtime | None = None) -> None:
        self._pod = pod
        self._status = status
        self._runtime = runtime
        self._pid = status.pid

    @property
    def id(self) -> str:
        """The container's id (API: ID)."""
        return self._status.id

    @property
    def pod(self) -> VCPod:
        """The pod that the container belongs to (API: Pod)."""
        return self._pod

    @property
    def process(self) -> Process | None:
        """Its first process (API: Process); None for a container that was never started."""
        if self._status.start_time is None:
            return None
        return Process(token=self.get_token(), pid=self._pid, start_time=self._status.start_time)

    def get_pid(self) -> int:
        """The host process that stands for the first process (API: GetPid); 0 for none."""
        return self._pid

    async def set_pid(self, pid: int) -> None:
        """Record another host process as the one that stands for the container (API: SetPid).

        It is what get_pid and status_container tell from now on; no process is touched.

        Raises:
            InvalidConfig: `pid` is no number of a process.
            WrongState: the container was never started, so there is no process.
        """
        async with _opened(self._runtime) as runtime:
            status = await runtime.set_pid(self._pod.id, self.id, pid)
        self._pid = status.pid

    def get_token(self) -> str:
        """What names the first process in the pod (API: GetToken); fixed before it starts."""
        return self.id

    def get_annotations(self) -> dict[str, str]:
        """All annotations, as a copy (API: GetAnnotations)."""
        return dict(self._status.annotations)


# --- pods


async def create_pod(pod_config: PodConfig, *, runtime: Runtime | None = None) -> VCPod:
    """Record a pod and its containers and prepare them; nothing boots (API: CreatePod).

    Raises:
        InvalidConfig: naming the path of the key.
        AlreadyExists: the id is taken.
        FileProblem, GuestNotBuilt, MissingProgram: what the pod needs is not there.
    """
    async with _opened(runtime) as own:
        return VCPod(await own.create_pod(pod_config), runtime)


async def run_pod(pod_config: PodConfig, *, runtime: Runtime | None = None) -> VCPod:
    """Create a pod and start it (API: RunPod); one that does not start is removed again.

    Raises what create_pod and start_pod raise.
    """
    async with _opened(runtime) as own:
        return VCPod(await own.run_pod(pod_config), runtime)


async def start_pod(pod_id: str, *, runtime: Runtime | None = None) -> VCPod:
    """Boot a pod that is ready or stopped, and start its containers (API: StartPod).

    Raises:
        MachineDied, AgentUnreachable, CommandFailed: the pod is as it was before.
    """
    ids.check("pod", pod_id)
    async with _opened(runtime) as own:
        return VCPod(await own.start_pod(pod_id), runtime)


async def stop_pod(pod_id: str, *, runtime: Runtime | None = None) -> VCPod:
    """Stop the containers of a pod and switch its machine off (API: StopPod).

    A container gets its stop signal and, after `timeouts.stop` seconds, SIGKILL. A paused pod
    may be stopped; one that is stopped already is WrongState.
    """
    ids.check("pod", pod_id)
    async with _opened(runtime) as own:
        return VCPod(await own.stop_pod(pod_id), runtime)


async def delete_pod(pod_id: str, *, runtime: Runtime | None = None) -> VCPod:
    """Stop what runs of a pod, and leave nothing of it (API: DeletePod).

    Returns the pod as it was last seen.
    """
    ids.check("pod", pod_id)
    async with _opened(runtime) as own:
        return VCPod(await own.delete_pod(pod_id), runtime)


async def pause_pod(pod_id: str, *, runtime: Runtime | None = None) -> VCPod:
    """Freeze a running pod: no clock in it goes on (API: PausePod)."""
    ids.check("pod", pod_id)
    async with _opened(runtime) as own:
        return VCPod(await own.pause_pod(pod_id), runtime)


async def resume_pod(pod_id: str, *, runtime: Runtime | None = None) -> VCPod:
    """Let a paused pod go on (API: ResumePod)."""
    ids.check("pod", pod_id)
    async with _opened(runtime) as own:
        return VCPod(await own.resume_pod(pod_id), runtime)


async def list_pod(*, runtime: Runtime | None = None) -> tuple[PodStatus, ...]:
    """The status of every pod, in the order of their creation (API: ListPod)."""
    async with _opened(runtime) as own:
        return await own.list_pods()


async def status_pod(pod_id: str, *, runtime: Runtime | None = None) -> PodStatus:
    """The status of a pod and of its containers (API: StatusPod)."""
    ids.check("pod", pod_id)
    async with _opened(runtime) as own:
        return await own.status_pod(pod_id)


# --- containers


async def create_container(
    pod_id: str, container_config: ContainerConfig, *, runtime: Runtime | None = None
) -> tuple[VCPod, VCContainer]:
    """Record a container in a pod, whatever the pod's state (API: CreateContainer).

    Raises:
        InvalidConfig: naming the path of the key.
        AlreadyExists: the pod has a container of that id.
        FileProblem: its root file system or a source of a mount is not there.
    """
    ids.check("pod", pod_id)
    async with _opened(runtime) as own:
        status = await own.create_container(pod_id, container_config)
        made = await _container(own, runtime, status)
        return made.pod, made


async def delete_container(
    pod_id: str, container_id: str, *, runtime: Runtime | None = None
) -> VCContainer:
    """Delete a container that is ready or stopped (API: DeleteContainer).

    Returns the container as it was last seen.
    """
    _check(pod_id, container_id)
    async with _opened(runtime) as own:
        return await _container(own, runtime, await own.delete_container(pod_id, container_id))


async def start_container(
    pod_id: str, container_id: str, *, runtime: Runtime | None = None
) -> VCContainer:
    """Start a ready or stopped container of a running pod (API: StartContainer).

    Raises:
        CommandFailed: exit code 127 where the command is not found, 126 where not executable.
    """
    _check(pod_id, container_id)
    async with _opened(runtime) as own:
        return await _container(own, runtime, await own.start_container(pod_id, container_id))


async def stop_container(
    pod_id: str, container_id: str, *, runtime: Runtime | None = None
) -> VCContainer:
    """Stop a container (API: StopContainer); one that is stopped already stays so.

    It gets its stop signal and, after `timeouts.stop` seconds, all its processes get SIGKILL.
    """
    _check(pod_id, container_id)
    async with _opened(runtime) as own:
        return await _container(own, runtime, await own.stop_container(pod_id, container_id))


async def enter_container(
    pod_id: str, container_id: str, cmd: Cmd, *, runtime: Runtime | None = None
) -> tuple[VCPod, VCContainer, Process]:
    """Run one more process in a running container (API: EnterContainer).

    What `cmd` leaves out is as the container's first process has it: environment, folder, user and
    groups, capabilities, limits.

    Raises:
        InvalidConfig: `cmd` cannot be run.
        CommandFailed: exit code 127 where the command is not found, 126 where not executable.
    """
    _check(pod_id, container_id)
    async with _opened(runtime) as own:
        process = await own.enter_container(pod_id, container_id, cmd)
        status = await own.status_container(pod_id, container_id)
        entered = await _container(own, runtime, status)
        return entered.pod, entered, process


async def status_container(
    pod_id: str, container_id: str, *, runtime: Runtime | None = None
) -> ContainerStatus:
    """The status of a container (API: StatusContainer)."""
    _check(pod_id, container_id)
    async with _opened(runtime) as own:
        return await own.status_container(pod_id, container_id)


async def kill_container(
    pod_id: str,
    container_id: str,
    signal: int,
    all: bool,  # noqa: A002 - the API's word and place
    *,
    runtime: Runtime | None = None,
) -> None:
    """Signal the first process of a running container, or all of them (API: KillContainer).

    Raises:
        InvalidConfig: `signal` is not from 1 to 64.
    """
    _check(pod_id, container_id)
    async with _opened(runtime) as own:
        await own.kill_container(pod_id, container_id, signal, all=all)


async def process_list_container(
    pod_id: str, container_id: str, options: ProcessListOptions, *, runtime: Runtime | None = None
) -> bytes:
    """The processes of a running container, as JSON or as ps(1) has them
    (API: ProcessListContainer)."""
    _check(pod_id, container_id)
    async with _opened(runtime) as own:
        return await own.process_list_container(pod_id, container_id, options)


def _check(pod_id: str, container_id: str) -> None:
    ids.check("pod", pod_id)
    ids.check("container", container_id)


@contextlib.asynccontextmanager
async def _opened(runtime: Runtime | None) -> AsyncIterator[Runtime]:
    if runtime is not None:
        yield runtime
        return
    async with Runtime(settings.load()) as own:
        yield own


async def _container(
    opened: Runtime, given: Runtime | None, status: ContainerStatus
) -> VCContainer:
    return VCContainer(VCPod(await opened.status_pod(status.pod_id), given), status, given)
