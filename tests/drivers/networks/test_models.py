"""The network models that fill no namespace themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from vctui.drivers.networks.cnm import CnmNetwork
from vctui.drivers.networks.noop import NoopNetwork
from vctui.model.network import NetworkConfig

NETNS = Path("/nowhere/netns")


@pytest.mark.parametrize("network", [NoopNetwork(), CnmNetwork()])
async def test_nothing_is_joined_or_left(network):
    planned = network.plan(NetworkConfig())
    assert planned == ()
    assert await network.prepare("web", NETNS, planned) == ()
    await network.check("web", NETNS, planned, ())
    await network.remove("web", NETNS, planned)
    await network.remove("web", None, planned)


def test_only_a_noop_network_needs_no_namespace():
    assert not NoopNetwork().has_namespace
    assert CnmNetwork().has_namespace
