"""Runtime: the virtcontainers 1.0 API for one host, put together from settings and a store.

Every function takes complete ids; `resolve_pod` and `resolve_container` turn what an
operator typed into one. Calls may be made from any number of processes at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from vctui import engine
from vctui.drivers import connections
from vctui.engine import filling, paths, recovery, status, timeline
from vctui.engine.context import Context, Progress, no_progress
from vctui.errors import ReadOnly
from vctui.linux.files import private_dir
from vctui.linux.problems import host_problem
from vctui.model import ids
from vctui.model.container import (
    Cmd,
    ContainerConfig,
    ContainerStatus,
    ExecRecord,
    Process,
    ProcessListOptions,
)
from vctui.model.events import Event
from vctui.model.guest import Guest, GuestReport
from vctui.model.hostnetwork import HostNetwork, NetworkDetails
from vctui.model.image import Image
from vctui.model.kinds import Accelerator
from vctui.model.logs import LogLine, LogSource
from vctui.model.pod import PodConfig, PodRecord, PodStatus, Resources
from vctui.model.ports import PortPair
from vctui.model.template import Template
from vctui.model.timeline import Timeline
from vctui.model.traffic import Traffic
from vctui.settings import Settings
from vctui.store.sqlite import SqliteStore
from vctui.telemetry import trace

if TYPE_CHECKING:
    from vctui.drivers.agents.base import ContainerStats
    from vctui.drivers.shims.base import Attachment
    from vctui.engine.forward import Forward
    from vctui.model.doctor import Check


class Runtime:
    """An async context manager; opening it repairs what crashed engines left behind.

    With `read_only` every call that changes something raises ReadOnly. What run, start and
    restart take is kept for `timeline` where telemetry.trace records.
    """

    def __init__(self, settings: Settings, *, read_only: bool = False) -> None:
        self.settings = settings
        self._read_only = read_only
        self._opened: Context | None = None
        self._connections = contextlib.AsyncExitStack()
        self._listed: dict[str, tuple[PodRecord, PodStatus]] = {}
        """Of the last list: a pod that has not changed keeps its status."""

    async def __aenter__(self) -> Self:
        for folder in (paths.locks_root(self.settings), self.settings.state_dir):
            try:
                private_dir(folder)
            except OSError as error:
                raise host_problem(error, f"make the folder {folder}") from error
        store = SqliteStore(self.settings.state_dir)
        self._opened = Context(self.settings, store, read_only=self._read_only)
        with trace.span("look for left-overs"):
            await recovery.sweep(self._opened)
        await self._connections.enter_async_context(connections.kept())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._opened is not None:
            self._opened.store.close()
            self._opened = None
        await self._connections.aclose()

    @property
    def _reading(self) -> Context:
        if self._opened is None:
            raise RuntimeError("the runtime is not open; use `async with Runtime(…)`")
        return self._opened

    def _changing(self, what: str) -> Context:
        if self._read_only:
            raise ReadOnly(f"cannot {what}: changes are switched off; run without --read-only")
        return self._reading

    # --- ids

    def resolve_pod(self, prefix: str) -> str:
        """Raises NotFound, AmbiguousId."""
        return ids.resolve("pod", prefix, self._reading.store.pod_ids())

    def resolve_container(self, pod_id: str, prefix: str) -> str:
        """Raises NotFound, AmbiguousId."""
        known = [one.id for one in self._reading.store.pod(pod_id).containers]
        return ids.resolve("container", prefix, known)

    # --- pods

    async def create_pod(self, config: PodConfig) -> PodStatus:
        """Record a pod and its containers; nothing boots (API: CreatePod).

        Raises:
            InvalidId, InvalidConfig, AlreadyExists, FileProblem, GuestNotBuilt, MissingProgram.
        """
        await engine.pod.create(self._changing(f"create pod {config.id!r}"), config)
        return await self.status_pod(config.id)

    async def run_pod(self, config: PodConfig, *, progress: Progress = no_progress) -> PodStatus:
        """Create and start (API: RunPod); a pod that does not start is removed again."""
        ctx = self._changing(f"run pod {config.id!r}")
        with timeline.kept(ctx, config.id, "run"):
            await engine.pod.run(ctx, config, progress)
        return await self.status_pod(config.id)

    async def start_pod(self, pod_id: str, *, progress: Progress = no_progress) -> PodStatus:
        """Boot the machine and start every container (API: StartPod).

        Raises:
            WrongState: it runs or is paused.
            MachineDied, AgentUnreachable, CommandFailed: the pod is as it was before.
        """
        ctx = self._changing(f"start pod {pod_id!r}")
        with timeline.kept(ctx, pod_id, "start"):
            await engine.pod.start(ctx, pod_id, progress)
        return await self.status_pod(pod_id)

    async def stop_pod(
        self, pod_id: str, *, timeout: float | None = None, progress: Progress = no_progress
    ) -> PodStatus:
        """Stop the containers and switch the machine off (API: StopPod).

        `timeout`: seconds from a container's stop signal to SIGKILL.
        Raises WrongState for a pod that is stopped already.
        """
        ctx = self._changing(f"stop pod {pod_id!r}")
        await engine.pod.stop(ctx, pod_id, grace=timeout, progress=progress)
        return await self.status_pod(pod_id)

    async def restart_pod(self, pod_id: str, *, progress: Progress = no_progress) -> PodStatus:
        ctx = self._changing(f"restart pod {pod_id!r}")
        with timeline.kept(ctx, pod_id, "restart"):
            await engine.pod.restart(ctx, pod_id, progress)
        return await self.status_pod(pod_id)

    async def pause_pod(self, pod_id: str) -> PodStatus:
        """Freeze the machine: clocks in the containers stand still (API: PausePod)."""
        await engine.pod.pause(self._changing(f"pause pod {pod_id!r}"), pod_id)
        return await self.status_pod(pod_id)

    async def connect_pod(self, pod_id: str, network: str = "") -> PodStatus:
        """Give a running pod the interfaces of its namespace that it has not.

        With CNI it joins `network` first, or the host's default. Raises WrongState, NetworkError.
        """
        ctx = self._changing(f"connect pod {pod_id!r}")
        await engine.interfaces.connect(ctx, pod_id, network)
        return await self.status_pod(pod_id)

    async def disconnect_pod(self, pod_id: str, interface: str) -> PodStatus:
        """Take an interface away from a running pod, and leave its network.

        Raises NotFound, WrongState, NetworkError.
        """
        ctx = self._changing(f"disconnect pod {pod_id!r}")
        await engine.interfaces.disconnect(ctx, pod_id, interface)
        return await self.status_pod(pod_id)

    async def resume_pod(self, pod_id: str) -> PodStatus:
        """API: ResumePod."""
        await engine.pod.resume(self._changing(f"resume pod {pod_id!r}"), pod_id)
        return await self.status_pod(pod_id)

    async def delete_pod(self, pod_id: str, *, progress: Progress = no_progress) -> PodStatus:
        """Stop what runs, then leave nothing of the pod but its events (API: DeletePod).

        Returns the last status it had.
        """
        ctx = self._changing(f"delete pod {pod_id!r}")
        last = await self.status_pod(pod_id)
        await engine.pod.delete(ctx, pod_id, progress)
        return last

    async def list_pods(self) -> tuple[PodStatus, ...]:
        """In the order of their creation (API: ListPod)."""
        before, found = self._listed, {}
        for record in self._reading.store.pods():
            known = before.get(record.id)
            if known is None or known[0] is not record:
                known = (record, status.pod_status(record))
            found[record.id] = known
        self._listed = found
        return tuple(shown for _, shown in found.values())

    async def status_pod(self, pod_id: str) -> PodStatus:
        """API: StatusPod. Raises NotFound."""
        return status.pod_status(self._reading.store.pod(pod_id))

    def timeline(self, pod_id: str) -> Timeline | None:
        """Where the time of the pod's last start went; None where that was not recorded."""
        return timeline.read(self._reading, pod_id)

    async def set_annotations(self, pod_id: str, annotations: dict[str, str]) -> PodStatus:
        """Merge into the pod's annotations (API: VCPod.SetAnnotations)."""
        await engine.pod.set_annotations(
            self._changing(f"annotate pod {pod_id!r}"), pod_id, annotations
        )
        return await self.status_pod(pod_id)

    # --- containers

    async def create_container(self, pod_id: str, config: ContainerConfig) -> ContainerStatus:
        """API: CreateContainer. Raises AlreadyExists, NotFound, FileProblem."""
        ctx = self._changing(f"create a container in pod {pod_id!r}")
        await engine.container.create(ctx, pod_id, config)
        return await self.status_container(pod_id, config.id)

    async def start_container(self, pod_id: str, container_id: str) -> ContainerStatus:
        """API: StartContainer. Raises WrongState, CommandFailed."""
        await engine.container.start(self._changing("start a container"), pod_id, container_id)
        return await self.status_container(pod_id, container_id)

    async def stop_container(
        self, pod_id: str, container_id: str, *, timeout: float | None = None
    ) -> ContainerStatus:
        """API: StopContainer. `timeout`: seconds from the stop signal to SIGKILL."""
        ctx = self._changing("stop a container")
        await engine.container.stop(ctx, pod_id, container_id, grace=timeout)
        return await self.status_container(pod_id, container_id)

    async def delete_container(self, pod_id: str, container_id: str) -> ContainerStatus:
        """API: DeleteContainer; one that runs is to be stopped first. Returns its last status."""
        ctx = self._changing("delete a container")
        last = await self.status_container(pod_id, container_id)
        await engine.container.delete(ctx, pod_id, container_id)
        return last

    async def status_container(self, pod_id: str, container_id: str) -> ContainerStatus:
        """API: StatusContainer. Raises NotFound."""
        record = status.find(self._reading.store.pod(pod_id), container_id)
        return status.container_status(pod_id, record)

    async def set_pid(self, pod_id: str, container_id: str, pid: int) -> ContainerStatus:
        """Record another host process for a container (API: VCContainer.SetPid).

        Raises:
            WrongState: it was never started.
        """
        ctx = self._changing("set the process of a container")
        await engine.container.set_pid(ctx, pod_id, container_id, pid)
        return await self.status_container(pod_id, container_id)

    async def kill_container(
        self,
        pod_id: str,
        container_id: str,
        signal: int,
        *,
        all: bool = False,  # noqa: A002 - the API's word
    ) -> None:
        """Signal the first process, or all of them (API: KillContainer)."""
        ctx = self._changing("signal a container")
        await engine.container.kill(ctx, pod_id, container_id, signal, all=all)

    async def enter_container(self, pod_id: str, container_id: str, cmd: Cmd) -> Process:
        """Run one more process in a running container (API: EnterContainer).

        What `cmd` leaves out is as the container's first process has it: environment, folder, user
        and groups, capabilities, limits.

        Raises CommandFailed with exit code 127 (not found) or 126 (not executable).
        """
        ctx = self._changing("run a command in a container")
        return await engine.container.enter(ctx, pod_id, container_id, cmd)

    async def process_list_container(
        self, pod_id: str, container_id: str, options: ProcessListOptions
    ) -> bytes:
        """API: ProcessListContainer."""
        return await engine.ps.process_list(self._reading, pod_id, container_id, options)

    async def read_file(self, pod_id: str, container_id: str, path: str) -> bytes:
        """What is in a file of a running container, by its absolute path there.

        Raises InvalidInput, WrongState, AgentError.
        """
        return await engine.copying.read_file(self._reading, pod_id, container_id, path)

    async def write_file(self, pod_id: str, container_id: str, path: str, data: bytes) -> None:
        """Make or replace a file of a running container. Raises InvalidInput, WrongState,
        AgentError."""
        ctx = self._changing("copy a file into a container")
        await engine.copying.write_file(ctx, pod_id, container_id, path, data)

    def execs(self, pod_id: str) -> tuple[ExecRecord, ...]:
        """Processes that were added with enter_container, ended ones too while remembered."""
        return self._reading.store.execs(pod_id)

    async def stats(self, pod_id: str) -> dict[str, ContainerStats]:
        """Usage of each running container, from the guest's cgroups."""
        return await engine.container.stats(self._reading, pod_id)

    # --- images

    async def import_image(
        self, path: Path, *, name: str = "", progress: Progress = no_progress
    ) -> tuple[Image, ...]:
        """Take up the images of a docker-archive, oci-archive or OCI layout folder.

        `name` is for an image that does not name itself, or to name it otherwise.
        Raises FileProblem, InvalidConfig, WrongState; nothing is left of a failed import.
        """
        from vctui.engine import images

        return await images.import_(self._changing("import an image"), path, name, progress)

    async def list_images(self) -> tuple[Image, ...]:
        """Sorted by name."""
        from vctui.engine import images

        return images.store(self._reading).images()

    async def remove_image(self, name: str) -> Image:
        """Raises NotFound, and WrongState where a container uses the image."""
        from vctui.engine import images

        return await images.remove(self._changing(f"remove image {name!r}"), name)

    # --- guests

    async def add_guest(self, guest: Guest, *, replace: bool = False) -> Guest:
        """Remember a kernel and an image by a name that pods may give.

        Raises AlreadyExists, FileProblem, InvalidId, InvalidConfig.
        """
        from vctui.engine import guests

        return guests.add(self._changing(f"add guest {guest.name!r}"), guest, replace=replace)

    async def remove_guest(self, name: str) -> Guest:
        """Forget a guest; pods that were made with it are as before. Raises NotFound."""
        from vctui.engine import guests

        return guests.remove(self._changing(f"remove guest {name!r}"), name)

    async def list_guests(self) -> tuple[Guest, ...]:
        """Those that were added, sorted by name."""
        from vctui.engine import guests

        return guests.added(self._reading)

    async def check_guest(self, name: str, *, progress: Progress = no_progress) -> GuestReport:
        """Boot a guest in a pod of its own, ask its agent, and delete the pod."""
        from vctui.engine import guestcheck

        return await guestcheck.check(self._changing(f"check guest {name!r}"), name, progress)

    # --- templates

    async def build_template(
        self, *, vcpus: int = 0, memory: int = 0, progress: Progress = no_progress
    ) -> Template:
        """Have the saved guest that pods of this size begin as; 0 is the default size.

        Raises:
            WrongState: such pods boot here, and why.
        """
        from vctui.engine import templates

        ctx = self._changing("build a template")
        size = Resources(vcpus=vcpus, memory=memory)
        built = await templates.build(ctx, size, progress)
        self.fill_pool()
        return built

    def fill_pool(self) -> None:
        """Have ready guests made until there are as many as `[template] pool` says. Returns at
        once: a process of its own does it, and ends."""
        filling.begin(self._reading)

    async def list_templates(self) -> tuple[Template, ...]:
        """Those that can be used, the one used last first."""
        from vctui.engine import templates

        return tuple(templates.templates(self._reading))

    async def remove_template(self, key: str) -> Template:
        """Machines that began as it go on. Raises NotFound, WrongState."""
        from vctui.engine import templates

        return await templates.remove(self._changing(f"remove template {key!r}"), key)

    # --- streams

    async def attach(
        self,
        pod_id: str,
        container_id: str,
        token: str = "",
        *,
        replay: int = 0,
        rows: int = 0,
        columns: int = 0,
    ) -> Attachment:
        """Join a process's stdio; `token` "" is the container's first process."""
        from vctui.engine import streams

        ctx = self._changing("attach to a container")
        return await streams.attach(
            ctx, pod_id, container_id, token, replay=replay, rows=rows, columns=columns
        )

    async def console(self, pod_id: str, *, replay: int = 0) -> Attachment:
        """Join the guest's serial console."""
        from vctui.engine import streams

        return await streams.console(self._changing("use a console"), pod_id, replay=replay)

    def logs(
        self,
        pod_id: str,
        source: LogSource,
        container_id: str = "",
        *,
        follow: bool = False,
        since: datetime | None = None,
        tail: int | None = None,
        live: bool = False,
    ) -> AsyncGenerator[LogLine, None]:
        """Lines of one of the pod's logs; with `follow` until the pod is deleted.

        `live` is for a screen: what comes faster than anybody reads is left out, and counted.
        """
        from vctui.engine import logs

        return logs.read(
            self._reading,
            pod_id,
            source,
            container_id,
            follow=follow,
            since=since,
            tail=tail,
            live=live,
        )

    # --- networks

    async def check_network(self, pod_id: str) -> None:
        """Ask the plugins whether the pod's network is as they left it (CNI: CHECK).

        Raises NotFound, NetworkError.
        """
        await engine.interfaces.verify(self._reading, pod_id)

    def traffic(self, pod_id: str) -> tuple[Traffic, ...]:
        """What went through the pod's interfaces so far. Raises NotFound."""
        from vctui.engine import traffic

        return traffic.traffic(self._reading, pod_id)

    async def list_networks(self) -> tuple[tuple[HostNetwork, ...], tuple[str, ...]]:
        """Networks that pods can join by name, and what is wrong with files that hold none."""
        from vctui.engine import hostnetworks

        return hostnetworks.networks(self._reading)

    async def inspect_network(self, name: str) -> NetworkDetails:
        """Raises NotFound."""
        from vctui.engine import hostnetworks

        return await hostnetworks.inspect(self._reading, name)

    async def init_network(
        self, name: str = "", *, subnets: Sequence[str] = (), bridge: str = ""
    ) -> tuple[HostNetwork, tuple[str, ...]]:
        """Make a network of a bridge, or leave it as it is where it was made before.

        Returns the network and what is to be known of it. Raises AlreadyExists, InvalidInput,
        MissingProgram, HostProblem.
        """
        from vctui.engine import hostnetworks

        ctx = self._changing("make a network")
        return await hostnetworks.init(ctx, name, subnets=subnets, link=bridge)

    async def remove_network(self, name: str) -> HostNetwork:
        """Raises NotFound, WrongState where a pod is on it, InvalidInput where another made it."""
        from vctui.engine import hostnetworks

        return await hostnetworks.remove(self._changing(f"remove network {name!r}"), name)

    # --- ports

    @contextlib.asynccontextmanager
    async def port_forward(
        self,
        pod_id: str,
        pairs: Sequence[PortPair],
        *,
        addresses: Sequence[str] = (),
        tell: Callable[[str], None] = no_progress,
    ) -> AsyncGenerator[Forward, None]:
        """Lead ports of the host to ports of a running pod while the block runs.

        `addresses` are the host's to listen on, else the loopback ones; `tell` is told why a
        connection was not carried. Raises NotFound, WrongState, HostProblem.
        """
        from vctui.engine import forward

        ctx = self._changing(f"forward ports to pod {pod_id!r}")
        where = tuple(addresses) or forward.LOOPBACK
        async with forward.forward(ctx, pod_id, pairs, addresses=where, tell=tell) as made:
            yield made

    # --- watching

    def events(self, *, after: int = 0, follow: bool = False) -> AsyncGenerator[Event, None]:
        from vctui.engine import watch

        return watch.events(self._reading, after=after, follow=follow)

    def recent_events(self, *, limit: int = 200, pod_id: str = "") -> tuple[Event, ...]:
        return self._reading.store.recent_events(limit=limit, pod_id=pod_id)

    def changes(self) -> AsyncGenerator[None, None]:
        """Yields at the start and after each change by anybody, several as one."""
        from vctui.engine import watch

        return watch.changes(self._reading)

    def accelerator(self) -> str:
        """What QEMU runs machines with here: `kvm` or `tcg`; "" until the first one has shown
        which."""
        from vctui.drivers.hypervisors.qemu import accel

        wanted = self.settings.qemu.accelerator
        if wanted is not Accelerator.AUTO:
            return wanted.value
        choice = accel.known(self.settings.cache_dir)
        return choice.name if choice else ""

    async def doctor(self) -> tuple[Check, ...]:
        """What the product needs on this host, and whether it is there."""
        from vctui.engine import doctor

        return await doctor.examine(self.settings)
