"""Drivers that do nothing do it without complaint."""

from __future__ import annotations

from pathlib import Path

import pytest

from vctui.drivers.agents.base import GuestNeeds
from vctui.drivers.agents.noop import NoopAgent
from vctui.drivers.proxies.noop import NoopProxy
from vctui.drivers.shims.base import ShimParams
from vctui.drivers.shims.noop import NoopShim
from vctui.errors import NotFound
from vctui.model.agent import AgentConfig
from vctui.model.container import ProcessListOptions
from vctui.model.kinds import ProcessListFormat

RUN_DIR = Path("/nowhere/web")


async def test_the_noop_agent_needs_nothing_and_grants_all():
    agent = NoopAgent()
    assert agent.needs(RUN_DIR, RUN_DIR, AgentConfig(), debug=True) == GuestNeeds()
    await agent.connect("", timeout=1)
    await agent.start_sandbox(pod_id="web", hostname="web")
    await agent.signal("c1", "c1", 9, all=True)
    json = ProcessListOptions(format=ProcessListFormat.JSON)
    assert await agent.processes("c1", json) == b"[]"
    assert await agent.processes("c1", ProcessListOptions()) == b"PID CMD\n"
    assert await agent.stats(["c1"]) == {}
    await agent.close()


async def test_the_noop_proxy_is_there_at_once():
    proxy = NoopProxy()
    handle = await proxy.start(pod_id="web", run_dir=RUN_DIR)
    assert (handle.pid, handle.url) == (0, "")
    await proxy.wait_agent(RUN_DIR, timeout=0)
    assert proxy.alive(0, 0.0)
    await proxy.stop(RUN_DIR, pid=0, pid_started=0.0, timeout=0)


async def test_the_noop_shim_has_nothing_to_attach_to():
    shim = NoopShim()
    process = await shim.start(
        RUN_DIR, ShimParams(container_id="c1", token="c1", terminal=False, log=True)
    )
    assert (process.token, process.pid) == ("c1", 0)
    assert await shim.wait(RUN_DIR, "c1") is None
    with pytest.raises(NotFound):
        await shim.attach(RUN_DIR, "c1")
    with pytest.raises(NotFound):
        await shim.console(RUN_DIR)
