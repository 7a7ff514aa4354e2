"""A QEMU process and its control socket: a real virtual machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from vctui.drivers.hypervisors.base import (
    BlockDevice,
    Hypervisor,
    MachinePlan,
    PassedDevice,
    Place,
    Size,
    TemplateFit,
)
from vctui.drivers.hypervisors.qemu import accel, cmdline, nics, program, template, vsock
from vctui.errors import (
    FileProblem,
    GuestNotBuilt,
    HostProblem,
    HypervisorError,
    InvalidConfig,
    MachineDied,
)
from vctui.linux import files, netns, probe, process, sockets, tsc
from vctui.linux.problems import host_problem
from vctui.model.hypervisor import HypervisorConfig, Machine
from vctui.model.kinds import MachineType
from vctui.model.network import Endpoint
from vctui.telemetry.trace import span
from vctui.wire import disk

if TYPE_CHECKING:
    from vctui.drivers.hypervisors.qemu.qmp import Session

MAX_VCPUS: Final = 255
LOG: Final = "qemu.log"
_MOST_VCPUS: Final = 16
"""That a machine with fewer can grow to; each of them costs a guest a quarter of a MiB at once."""
_NVDIMM_UNIT: Final = 2 * 1024 * 1024
"""Bytes; a guest's kernel maps persistent memory in pieces of this size."""
_GREETING: Final = 30.0
"""Seconds; with ten pods starting at once on two cores QEMU took three."""
_LAST_LINES: Final = 3
_ACCELERATORS: Final = {"kvm": "KVM", "tcg": "emulation (TCG)"}


class Qemu(Hypervisor):
    """`state_dir` is where what was found out about this host's QEMU and KVM is kept.

    What changes a machine that runs is imported when one is changed: a start waits for no import.
    """

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir

    def check(self, plan: MachinePlan) -> None:
        """See Hypervisor.check. Also raises FileProblem for a kernel, initrd or firmware."""
        program.find(plan.hypervisor_path)
        _check_resources(plan)
        if plan.config.huge_pages:
            _check_huge_pages(plan, probe.huge_pages())
        if plan.kernel is None:
            raise GuestNotBuilt(
                f"there is no kernel for pod {plan.pod_id!r}; run `vctui guest build`, "
                "or set hypervisor_config.kernel_path"
            )
        for key, path in (
            ("kernel_path", plan.kernel),
            ("initrd_path", plan.initrd),
            ("image_path", plan.image),
            ("firmware_path", plan.config.firmware_path or None),
        ):
            if path is not None:
                _check_readable(plan, key, Path(path))
        length = len(os.fsencode(cmdline.kernel_command_line(plan, _find_root(plan), grows=True)))
        if length > cmdline.MAX_KERNEL_COMMAND_LINE:
            raise InvalidConfig(
                f"the kernel parameters of pod {plan.pod_id!r} take {length} bytes, but a kernel "
                f"reads {cmdline.MAX_KERNEL_COMMAND_LINE}; shorten hypervisor_config.kernel_params"
            )

    async def start(self, plan: MachinePlan) -> Machine:
        """See Hypervisor.start. Sockets of an earlier machine in the same folder are replaced."""
        try:
            return await self._start(plan)
        except OSError as error:
            raise host_problem(error, f"start QEMU for pod {plan.pod_id!r}") from error

    async def template_fit(self, plan: MachinePlan) -> TemplateFit:
        found = await self._look(plan)
        if why_cold := template.why_cold(plan, found.choice.name):
            return TemplateFit(why_cold=why_cold)
        likeness = template.likeness(plan)
        numbers = {name: number for number, name in enumerate(cmdline.sockets(likeness))}
        argv = found.argv(likeness, numbers)
        try:
            return TemplateFit(key=template.key(plan, found.built, argv), most=_most(plan))
        except OSError as error:
            raise host_problem(error, f"look at the guest of pod {plan.pod_id!r}") from error

    async def opened(self, plan_dir: Path, machine: Machine, port: str) -> None:
        async with self._session(plan_dir, machine) as session:
            events = session.events()
            while not await _is_open(session, port):
                if await anext(events, None) is None:
                    raise MachineDied(
                        f"QEMU (process {machine.pid}) ended before its guest opened {port!r}; "
                        f"see {plan_dir / LOG}"
                    )

    async def save(self, plan_dir: Path, machine: Machine, state: Path) -> None:
        async with self._session(plan_dir, machine) as session:
            try:
                await template.save(session, state)
            except OSError as error:
                raise host_problem(error, f"save a guest as {state}") from error

    async def stop(self, plan_dir: Path, machine: Machine, *, timeout: float) -> None:
        """See Hypervisor.stop. The sockets and the log stay for who owns the folder."""
        if self.alive(machine):
            from vctui.drivers.hypervisors.qemu import qmp

            with contextlib.suppress(TimeoutError, HypervisorError):
                async with asyncio.timeout(timeout):
                    async with qmp.connect(_control(plan_dir)) as session:
                        await session.execute("quit")
                    await process.wait_end(machine.pid, machine.pid_started)
        try:
            await process.terminate(machine.pid, machine.pid_started, timeout=0)
        except TimeoutError as error:
            raise HypervisorError(
                f"QEMU (process {machine.pid}) does not end, not even by SIGKILL; "
                "it waits for the host's kernel, look at the host's disks"
            ) from error

    async def pause(self, plan_dir: Path, machine: Machine) -> None:
        await self._switch(plan_dir, machine, "stop", "paused")

    async def resume(self, plan_dir: Path, machine: Machine) -> None:
        await self._switch(plan_dir, machine, "cont", "running")

    async def plug(
        self, plan_dir: Path, machine: Machine, device: BlockDevice | PassedDevice
    ) -> Place:
        from vctui.drivers.hypervisors.qemu import hotplug

        async with self._session(plan_dir, machine) as session:
            return await hotplug.plug(session, device)

    async def unplug(self, plan_dir: Path, machine: Machine, name: str) -> None:
        from vctui.drivers.hypervisors.qemu import hotplug

        async with self._session(plan_dir, machine) as session:
            await hotplug.unplug(session, name)

    async def size(self, plan_dir: Path, machine: Machine) -> Size:
        from vctui.drivers.hypervisors.qemu import resizing

        async with self._session(plan_dir, machine) as session:
            return await resizing.size(session, machine)

    async def resize(
        self, plan_dir: Path, machine: Machine, config: HypervisorConfig, wanted: Size
    ) -> Size:
        from vctui.drivers.hypervisors.qemu import resizing

        huge_pages = probe.huge_pages().folder if config.huge_pages else None
        async with self._session(plan_dir, machine) as session:
            return await resizing.resize(session, machine, config, wanted, huge_pages=huge_pages)

    async def plug_network(
        self, plan_dir: Path, machine: Machine, netns: Path, endpoint: Endpoint
    ) -> Place:
        from vctui.drivers.hypervisors.qemu import netplug

        fast = machine.accelerator == "kvm"
        try:
            with nics.opened(netns, (endpoint,), vhost=fast) as queues:
                async with self._session(plan_dir, machine) as session:
                    mine = queues.get(endpoint.id)
                    return await netplug.plug(session, endpoint, mine, emulated=not fast)
        except OSError as error:
            doing = f"open the tap of interface {endpoint.interface.name!r}"
            raise host_problem(error, doing) from error

    async def unplug_network(self, plan_dir: Path, machine: Machine, endpoint: Endpoint) -> None:
        from vctui.drivers.hypervisors.qemu import netplug

        async with self._session(plan_dir, machine) as session:
            await netplug.unplug(session, endpoint)

    def alive(self, machine: Machine) -> bool:
        return process.is_alive(machine.pid, machine.pid_started)

    async def _start(self, plan: MachinePlan) -> Machine:
        found = await self._look(plan)
        _check_network(plan, found.choice.name)
        cards = () if plan.restores else plan.endpoints  # the saved guest had none
        fast = found.choice.name == "kvm"
        async with _connected(plan) as served:
            with (
                _listening(plan) as listening,
                nics.opened(plan.netns, cards, vhost=fast) as queues,
                vsock.opened(plan) as device,
            ):
                descriptors = {name: server.fileno() for name, server in listening.items()}
                argv = found.argv(plan, descriptors, queues, device, served)
                inherited = (
                    *descriptors.values(),
                    *served.values(),
                    *(fd for one in queues.values() for fd in one.all),
                    *((device.descriptor,) if device else ()),
                )
                with span("execute QEMU"):
                    spawned = _spawn_at_place(plan, argv, inherited)
        try:
            with span("QEMU's greeting"):
                await _greeting(plan, spawned)
        except BaseException:
            await asyncio.shield(process.terminate(spawned.pid, spawned.started, timeout=0))
            raise
        return Machine(
            uuid=plan.uuid,
            pid=spawned.pid,
            pid_started=spawned.started,
            accelerator=found.choice.name,
            boot=_story(plan, found.choice, device),
            vsock=device.url if device else "",
            kernel=str(plan.kernel or ""),
            initrd=str(plan.initrd or ""),
            image=str(plan.image or ""),
            vcpus=plan.vcpus,
            memory=plan.memory,
            boot_vcpus=plan.vcpus,
            boot_memory=plan.memory,
            max_vcpus=_most(plan).vcpus,
            max_memory=_most(plan).memory,
        )

    async def _look(self, plan: MachinePlan) -> _Found:
        """What there is for the plan on this host."""
        path = program.find(plan.hypervisor_path)
        files.private_dir(self._state_dir)
        with span("look at QEMU"):
            built = await program.examine(path, state_dir=self._state_dir)
        if any(share.socket is None for share in plan.shares) and not built.nine_p:
            raise HostProblem(
                f"{path} was built without virtio-9p, which containers' files need; "
                f"run `{program.INSTALL}`"
            )
        with span("choose the accelerator"):
            choice = await accel.choose(
                plan.accelerator, program=path, kernel=plan.kernel, state_dir=self._state_dir
            )
        return _Found(path, built, choice, await _tsc_khz(plan, choice))

    @contextlib.asynccontextmanager
    async def _session(self, plan_dir: Path, machine: Machine) -> AsyncIterator[Session]:
        if not self.alive(machine):
            raise MachineDied(f"QEMU (process {machine.pid}) has ended; start the pod again")
        from vctui.drivers.hypervisors.qemu import qmp

        async with qmp.connect(_control(plan_dir)) as session:
            yield session

    async def _switch(self, plan_dir: Path, machine: Machine, command: str, wanted: str) -> None:
        async with self._session(plan_dir, machine) as session:
            await session.execute(command)
            status = (await session.execute("query-status"))["status"]
        if status != wanted:
            raise HypervisorError(
                f"the machine should be {wanted} after {command!r}, but QEMU says {status!r}; "
                "stop the pod and start it again"
            )


class _Found(msgspec.Struct, frozen=True):
    """What a plan needs to become a command line."""

    path: Path
    built: program.Program
    choice: accel.Choice
    tsc_khz: int

    def argv(
        self,
        plan: MachinePlan,
        listening: Mapping[str, int],
        queues: Mapping[str, nics.Queues] | None = None,
        device: vsock.Vsock | None = None,
        served: Mapping[str, int] | None = None,
    ) -> tuple[str, ...]:
        return cmdline.build(
            plan,
            program=self.path,
            accelerator=self.choice.name,
            listening=listening,
            sandbox=self.built.sandbox,
            nested=_is_nested(plan, self.choice),
            tsc_khz=self.tsc_khz,
            max_vcpus=_most(plan).vcpus,
            max_memory=_most(plan).memory,
            root=_find_root(plan),
            image_size=plan.image.stat().st_size if plan.image else 0,
            huge_pages=probe.huge_pages().folder if plan.config.huge_pages else None,
            queues=queues,
            vsock=device,
            served=served,
        )


async def _is_open(session: Session, port: str) -> bool:
    return any(
        each.get("label") == port and each.get("frontend-open")
        for each in await session.execute("query-chardev")
    )


def _control(run_dir: Path) -> Path:
    return run_dir / f"{cmdline.CONTROL}.sock"


def _most(plan: MachinePlan) -> Size:
    """What the machine can grow to on this host; zeros for one that cannot."""
    if plan.config.hypervisor_machine_type is MachineType.MICROVM:
        return Size(vcpus=0, memory=0)
    vcpus = max(plan.vcpus, min(os.cpu_count() or 1, _MOST_VCPUS))
    return Size(vcpus=vcpus, memory=probe.memory_mib()[0])


def _check_network(plan: MachinePlan, accelerator: str) -> None:
    """A microvm has no PCI; and where it is emulated (QEMU 7.2), no packet passes between it and a
    program that serves its card by vhost-user. Raises InvalidConfig."""
    if plan.config.hypervisor_machine_type is not MachineType.MICROVM:
        return
    for endpoint in plan.endpoints:
        if endpoint.physical is not None:
            what = f"is the network card {endpoint.physical.bdf}, which a microvm cannot have"
        elif endpoint.socket and accelerator == "tcg":
            what = "is served by vhost-user, which reaches no emulated microvm"
        else:
            continue
        raise InvalidConfig(
            f"interface {endpoint.interface.name!r} of pod {plan.pod_id!r} {what}; set "
            "hypervisor_config.hypervisor_machine_type to q35"
        )


def _check_resources(plan: MachinePlan) -> None:
    if plan.memory < max(plan.min_memory, 1):
        raise InvalidConfig(
            f"vm_config.memory of pod {plan.pod_id!r} is {plan.memory} MiB, but this guest needs "
            f"at least {max(plan.min_memory, 1)} MiB; give it more"
        )
    if not 1 <= plan.vcpus <= MAX_VCPUS:
        raise InvalidConfig(
            f"vm_config.vcpus of pod {plan.pod_id!r} is {plan.vcpus}; give 1 to {MAX_VCPUS}"
        )


def _check_huge_pages(plan: MachinePlan, there: probe.HugePages) -> None:
    if there.folder is None:
        raise HostProblem(
            f"pod {plan.pod_id!r} wants huge pages (hypervisor_config.huge_pages), but hugetlbfs "
            "is not mounted; run `mkdir -p /dev/hugepages && mount -t hugetlbfs none "
            "/dev/hugepages`"
        )
    if plan.memory % there.page_mib:
        raise InvalidConfig(
            f"vm_config.memory of pod {plan.pod_id!r} is {plan.memory} MiB, but must be a "
            f"multiple of the huge page of {there.page_mib} MiB; change it"
        )
    if there.free_mib < plan.memory:
        raise HostProblem(
            f"pod {plan.pod_id!r} wants {plan.memory} MiB of huge pages, but this host has "
            f"{there.free_mib} MiB free; raise the number with `sysctl vm.nr_hugepages`, or leave "
            "hypervisor_config.huge_pages out"
        )


def _find_root(plan: MachinePlan) -> disk.Root | None:
    """Where the pod's image has its root file system; None for a pod without an image.

    Raises:
        FileProblem: there is none in it, or it cannot be an NVDIMM.
    """
    if plan.image is None:
        return None
    of_pod = f"(hypervisor_config.image_path of pod {plan.pod_id!r})"
    with plan.image.open("rb") as file:
        descriptor = file.fileno()
        size = os.fstat(descriptor).st_size
        if cmdline.has_nvdimm(plan) and (size == 0 or size % _NVDIMM_UNIT):
            raise FileProblem(
                f"{plan.image} {of_pod} has {size} bytes, but an NVDIMM has a multiple of "
                f"{_NVDIMM_UNIT}; enlarge it with `truncate`"
            )
        try:
            return disk.find_root(
                lambda offset, length: (
                    os.pread(descriptor, length, offset) if offset < size else b""
                )
            )
        except ValueError as error:
            raise FileProblem(
                f"{plan.image} {of_pod} cannot be a guest's root: {error}; name a raw disk image"
            ) from error


def _is_nested(plan: MachinePlan, choice: accel.Choice) -> bool:
    wanted = choice.name == "kvm" and not plan.config.disable_nesting_checks
    return wanted and probe.is_virtual_machine()


async def _tsc_khz(plan: MachinePlan, choice: accel.Choice) -> int:
    """What an emulated guest is told of its counter: on a microvm, which has no other clock to
    compare with, and where it is going to be saved.

    Raises:
        HostProblem: it cannot be measured here.
    """
    is_microvm = plan.config.hypervisor_machine_type is MachineType.MICROVM
    # what a guest that is to be saved finds out wrongly, on a host that is busy, all would inherit
    if choice.name == "kvm" or not (is_microvm or plan.memory_file):
        return 0
    frequency = await tsc.frequency_khz()
    if frequency or not is_microvm:
        return frequency
    raise HostProblem(
        f"pod {plan.pod_id!r} cannot be an emulated microvm here, as the frequency of this host's "
        "time stamp counter cannot be measured; set hypervisor_config.hypervisor_machine_type "
        "to q35"
    )


def _check_readable(plan: MachinePlan, key: str, path: Path) -> None:
    try:
        with path.open("rb"):
            return
    except OSError as error:
        raise FileProblem(
            f"cannot read {path} (hypervisor_config.{key} of pod {plan.pod_id!r}): "
            f"{error.strerror}; correct the path, or run `vctui guest build`"
        ) from error


@contextlib.contextmanager
def _listening(plan: MachinePlan) -> Iterator[dict[str, socket.socket]]:
    """The machine's sockets, made by us: any length of path, and nobody connects too early."""
    with contextlib.ExitStack() as opened:
        yield {
            name: opened.enter_context(sockets.listen(path))
            for name, path in cmdline.sockets(plan).items()
        }


@contextlib.asynccontextmanager
async def _connected(plan: MachinePlan) -> AsyncIterator[dict[str, int]]:
    """Connections to the programs that serve the machine's shares, by their tags.

    Raises OSError: one does not listen.
    """
    with contextlib.ExitStack() as opened:
        yield {
            share.tag: opened.enter_context(await sockets.connect(share.socket)).fileno()
            for share in plan.shares
            if share.socket is not None
        }


def _spawn_at_place(
    plan: MachinePlan, argv: tuple[str, ...], descriptors: tuple[int, ...]
) -> process.Spawned:
    """In the network namespace that the plan says."""
    if plan.apart and probe.can_use_netns():
        return netns.apart(_spawn, argv, plan.run_dir, descriptors)
    if plan.netns is None:
        return _spawn(argv, plan.run_dir, descriptors)
    return netns.inside(plan.netns, _spawn, argv, plan.run_dir, descriptors)


def _spawn(argv: tuple[str, ...], run_dir: Path, descriptors: tuple[int, ...]) -> process.Spawned:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
    log = os.open(run_dir / LOG, flags, 0o600)
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    try:
        return process.spawn_detached(
            argv, stdout=log, stderr=log, env=environment, pass_fds=descriptors
        )
    finally:
        os.close(log)


async def _greeting(plan: MachinePlan, spawned: process.Spawned) -> None:
    """Return when QEMU answers on its control socket: the machine is made, and goes on as the
    guest that it restores.

    Raises:
        MachineDied: the process ended before.
        HypervisorError: the guest cannot be restored, or who serves a card of it says nothing.
    """
    ended = asyncio.create_task(process.wait_end(spawned.pid, spawned.started))
    greeted = asyncio.create_task(_connect_once(plan))
    try:
        await asyncio.wait({ended, greeted}, return_when=asyncio.FIRST_COMPLETED)
        if greeted.done() and greeted.exception() is None:
            return
        if not ended.done():  # it may be about to end
            await asyncio.wait({ended}, timeout=1.0)
        if ended.done():
            raise MachineDied(_last_words(plan, ended.result()))
        await greeted
    except HypervisorError as error:
        served = [endpoint for endpoint in plan.endpoints if endpoint.socket]
        if isinstance(error, MachineDied) or not served:
            raise
        raise HypervisorError(
            f"QEMU does not come up for pod {plan.pod_id!r}; the program that serves interface "
            f"{served[0].interface.name!r} by vhost-user on {served[0].socket} may not answer it: "
            "start that anew, or remove the socket"
        ) from error
    finally:
        ended.cancel()
        greeted.cancel()
        await asyncio.gather(ended, greeted, return_exceptions=True)


async def _connect_once(plan: MachinePlan) -> None:
    from vctui.drivers.hypervisors.qemu import qmp

    async with qmp.connect(_control(plan.run_dir), timeout=_GREETING) as session:
        if plan.restores is not None:
            with span("restore the guest"):
                await template.restore(session, plan.restores.state, plan.shares)


def _last_words(plan: MachinePlan, status: int | None) -> str:
    lines = files.tail(plan.run_dir / LOG, _LAST_LINES)
    said = "; ".join(line.decode(errors="replace").strip()[:300] for line in lines if line.strip())
    how = "it said nothing" if not said else f"it said: {said}"
    if status is not None and status < 0:
        how = f"signal {-status}; {how}"
    elif status is not None:
        how = f"status {status}; {how}"
    return (
        f"QEMU ended as soon as it was started for pod {plan.pod_id!r} ({how}); "
        "look at hypervisor_config and at `vctui doctor`"
    )


def _story(plan: MachinePlan, choice: accel.Choice, device: vsock.Vsock | None) -> str:
    how = "restored from a template" if plan.restores else "booted cold"
    story = f"{how} with {_ACCELERATORS[choice.name]}"
    if choice.reason:
        story = f"{story}, as {choice.reason}"
    return f"{story}; {device.story}" if device else story
