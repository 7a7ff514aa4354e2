"""Who fills the pool of ready guests: when one is sent, and what it leaves."""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.fakes.plans import machine_plan
from vctui.drivers.hypervisors.base import MachinePlan, SavedGuest
from vctui.drivers.hypervisors.mock import MockHypervisor
from vctui.engine import filling, templates
from vctui.engine.context import Context
from vctui.engine.pool import LOG, Pool
from vctui.errors import AgentUnreachable, HostProblem
from vctui.linux import files, probe, process
from vctui.model.hypervisor import Machine
from vctui.settings import Settings
from vctui.settings import Template as TemplateSettings
from vctui.store.sqlite import SqliteStore

KEY = "0123456789abcdef"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, template=TemplateSettings(pool=2))


@pytest.fixture
def ctx(settings: Settings) -> Any:
    settings.state_dir.mkdir()
    store = SqliteStore(settings.state_dir)
    yield Context(settings, store)
    store.close()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Sequence[object], Settings]]:
    """Programs that were started, with the settings that they were given."""
    found: list[tuple[Sequence[object], Settings]] = []

    def spawn(argv: Sequence[object], *, stdin: int, stderr: int) -> None:
        given = msgspec.json.decode(os.read(stdin, 1 << 20), type=Settings)
        found.append((argv, given))

    monkeypatch.setattr(process, "spawn_detached", spawn)
    return found


def test_one_is_sent_where_guests_are_missing(ctx: Context, sent: list[Any]):
    filling.begin(ctx)
    [(argv, given)] = sent
    assert argv[-2:] == ("vctui.engine.filler", ctx.settings.run_dir / "pool")
    assert given == ctx.settings
    assert (ctx.settings.run_dir / "pool" / LOG).exists()


def test_a_pool_that_cannot_be_filled_is_told_of_and_holds_nobody_up(
    ctx: Context, caplog: pytest.LogCaptureFixture
):
    folder = Pool(ctx.settings).folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.touch()
    filling.begin(ctx)
    told = f"the pool stays as it is: cannot make ready guests in {folder}: Not a directory"
    assert caplog.messages == [told]


@pytest.mark.parametrize(
    "template", [TemplateSettings(), TemplateSettings(pool=1, enabled=False)], ids=["off", "none"]
)
def test_none_is_sent_where_no_guest_is_wanted(
    ctx: Context, sent: list[Any], template: TemplateSettings
):
    settings = msgspec.structs.replace(ctx.settings, template=template)
    filling.begin(Context(settings, ctx.store))
    assert sent == []
    assert not Pool(settings).folder.exists()


def test_none_is_sent_by_who_only_looks(ctx: Context, sent: list[Any]):
    filling.begin(Context(ctx.settings, ctx.store, read_only=True))
    assert sent == []


class Machines(MockHypervisor):
    """Processes that do nothing stand for its machines."""

    def __init__(self) -> None:
        super().__init__()
        self.paused: list[Path] = []

    async def start(self, plan: MachinePlan) -> Machine:
        assert plan.restores is not None
        assert plan.apart
        (plan.run_dir / "qemu.log").touch()
        spawned = process.spawn_detached(["tail", "-f", plan.run_dir / "qemu.log"])
        return Machine(uuid=plan.uuid, pid=spawned.pid, pid_started=spawned.started)

    async def pause(self, plan_dir: Path, machine: Machine) -> None:
        self.paused.append(plan_dir)


@pytest.fixture
async def machines(
    ctx: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[Machines]:
    made = Machines()
    plan = machine_plan(tmp_path, pod_id="template")

    async def usual(_ctx: Context) -> templates.Usual:
        return templates.Usual(hypervisor=made, plan=plan, key=KEY)

    @asynccontextmanager
    async def saved(*_: object) -> AsyncIterator[SavedGuest]:
        yield SavedGuest(memory=tmp_path, state=tmp_path, console=tmp_path)

    async def warm_up(_ctx: Context, plan: MachinePlan) -> None:
        assert plan.ports[0].socket == plan.run_dir / "agent.sock"

    monkeypatch.setattr(templates, "usual", usual)
    monkeypatch.setattr(templates, "saved", saved)
    monkeypatch.setattr(filling, "_warm_up", warm_up)
    monkeypatch.setattr(filling, "_HEADWAY", 0)
    monkeypatch.setattr(filling, "_FAREWELL", 0)
    yield made
    for left in process.find_by_argument(ctx.settings.run_dir):
        await process.terminate(left.pid, left.started, timeout=0)


async def test_there_are_as_many_as_wanted_each_frozen(ctx: Context, machines: Machines):
    await filling.fill(ctx)
    ready = Pool(ctx.settings).ready()
    assert [each.key for each in ready] == [KEY, KEY]
    assert sorted(each.name for each in machines.paused) == sorted(each.name for each in ready)


async def test_one_that_fails_is_ended_and_told(
    ctx: Context, machines: Machines, monkeypatch: pytest.MonkeyPatch
):
    async def fails(_ctx: Context, _plan: MachinePlan) -> None:
        raise AgentUnreachable("nobody answers")

    monkeypatch.setattr(filling, "_warm_up", fails)
    with pytest.raises(AgentUnreachable, match="a ready guest does not work: nobody answers"):
        await filling.fill(ctx)
    folder = Pool(ctx.settings).folder
    assert list(folder.glob("ready-*")) == []
    assert process.find_by_argument(folder) == []


async def test_memory_that_pods_need_is_left_to_them(
    ctx: Context, machines: Machines, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(probe, "memory_mib", lambda: (1024, 511))
    with pytest.raises(HostProblem, match=r"511 MiB .* too little for .* 256 MiB beside a pod"):
        await filling.fill(ctx)
    assert list(Pool(ctx.settings).folder.glob("ready-*")) == []


async def test_who_comes_while_one_waits_for_its_turn_does_nothing(
    ctx: Context, machines: Machines
):
    pool = Pool(ctx.settings)
    files.private_dir(pool.folder)
    with (pool.folder / "next").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        await filling.fill(ctx)
    assert pool.ready() == []
