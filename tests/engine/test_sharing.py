"""Which pods have programs that serve their folders."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from vctui.engine import machine, sharing
from vctui.engine.context import Context
from vctui.errors import MissingProgram
from vctui.model.guest import Guest, applied
from vctui.model.hypervisor import HypervisorConfig
from vctui.model.kinds import AgentType, HypervisorType, SharedFs
from vctui.model.pod import PodConfig
from vctui.model.volume import Volume
from vctui.settings import Settings
from vctui.store.memory import MemoryStore

OWN = HypervisorConfig(kernel_path="/k", initrd_path="/i", shared_fs=SharedFs.VIRTIO_FS)


@pytest.fixture
def ctx(settings: Settings, tmp_path: Path) -> Context:
    """Of a host without virtiofsd."""
    qemu = msgspec.structs.replace(settings.qemu, virtiofsd=str(tmp_path / "nowhere"))
    return Context(msgspec.structs.replace(settings, qemu=qemu), MemoryStore())


async def test_the_share_and_each_volume_are_served(ctx: Context, tmp_path: Path):
    volume = Volume(mount_tag="data", host_path=str(tmp_path))
    plan = machine.plan(ctx, PodConfig(id="web", hypervisor_config=OWN, volumes=(volume,)))
    run = ctx.paths("web").run
    assert [(one.tag, one.socket) for one in plan.shares] == [
        ("kataShared", run / "share0.sock"),
        ("data", run / "share1.sock"),
    ]
    assert plan.shares_memory
    with pytest.raises(MissingProgram, match="virtiofsd"):
        await sharing.check(ctx, plan)


@pytest.mark.parametrize(
    "config",
    [
        PodConfig(id="web", hypervisor_config=msgspec.structs.replace(OWN, shared_fs="9p")),
        PodConfig(id="web", hypervisor_config=OWN, agent_type=AgentType.NOOP),
        PodConfig(id="web", hypervisor_config=OWN, hypervisor_type=HypervisorType.MOCK),
    ],
    ids=["9p", "nobody shares anything", "no machine"],
)
async def test_who_needs_no_program_asks_for_none(ctx: Context, config: PodConfig):
    plan = machine.plan(ctx, config)
    assert not any(one.socket for one in plan.shares)
    assert await sharing.check(ctx, plan) is None


def test_what_a_guest_of_ones_own_says_wins():
    plain = PodConfig(id="web")
    for said in SharedFs:
        config = applied(plain, Guest(name="kata", kernel_path="/k", shared_fs=said))
        assert config.hypervisor_config.shared_fs is said
    asked = msgspec.structs.replace(
        plain, hypervisor_config=HypervisorConfig(shared_fs=SharedFs.VIRTIO_FS)
    )
    kept = applied(asked, Guest(name="kata", kernel_path="/k"))
    assert kept.hypervisor_config.shared_fs is SharedFs.VIRTIO_FS
