"""A pod's network from start to stop, with a machine that only remembers: nothing is ever left."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests import lan as lans
from tests.engine.conftest import pod
from vctui.engine import endpoints, recovery
from vctui.engine.runtime import Runtime
from vctui.errors import (
    HookFailed,
    InvalidConfig,
    NetworkError,
    NotFound,
    VctuiError,
    WrongState,
)
from vctui.linux import mounts, netns
from vctui.model.events import EventKind
from vctui.model.hook import Hook, Hooks
from vctui.model.kinds import EndpointType, NetInterworkingModel, NetworkModel
from vctui.model.network import NetworkConfig
from vctui.model.pod import PodConfig, PodStatus
from vctui.model.state import State
from vctui.settings import Settings

pytestmark = pytest.mark.root

FILL = """
import json, os, sys
from pathlib import Path
from pyroute2 import IPRoute
state = json.load(sys.stdin)
assert Path(f"/proc/{state['pid']}/ns/net").samefile("/proc/self/ns/net")
with IPRoute() as ip:
    ip.link("add", ifname="eth0", kind="veth", peer={"ifname": "outside"})
    index = ip.link_lookup(ifname="eth0")[0]
    ip.link("set", index=index, state="up")
    ip.addr("add", index=index, address="10.1.2.3", prefixlen=24)
"""

KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from vctui.engine import podfile
from vctui.engine.runtime import Runtime
from vctui.settings import load
import importlib
module, name, when = sys.argv[2:5]
owner = importlib.import_module(module)
real = getattr(owner, name)
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if asyncio.iscoroutinefunction(real):
    async def step(*args, **kwargs):
        if when == "after":
            await real(*args, **kwargs)
        die()
else:
    def step(*args, **kwargs):
        if when == "after":
            real(*args, **kwargs)
        die()
setattr(owner, name, step)
async def main():
    settings = load()
    async with Runtime(settings) as runtime:
        await runtime.run_pod(podfile.load_pod(Path(sys.argv[1]), settings))
asyncio.run(main())
"""

STEPS = [
    ("vctui.linux.netns", "create", "after"),
    ("vctui.engine.hooks", "run", "before"),
    ("vctui.engine.endpoints", "discover", "before"),
    ("vctui.engine.endpoints", "discover", "after"),
    ("vctui.linux.taps", "create", "after"),
    ("vctui.engine.endpoints", "wire", "after"),
    ("vctui.drivers.hypervisors.mock.MockHypervisor", "start", "before"),
]


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[lans.Lan]:
    folder = tmp_path / "lan"
    folder.mkdir()
    with lans.made(folder) as made:
        yield made


@pytest.fixture
def given(lan: lans.Lan) -> Path:
    namespace = lan.namespace("given")
    lan.plug(namespace, addresses=("10.77.0.2/24",), gateways=("10.77.0.1",))
    return namespace


def cnm(name: str = "web", namespace: Path | None = None, **config: object) -> PodConfig:
    path = str(namespace) if namespace else ""
    return replace(
        pod(name),
        network_model=NetworkModel.CNM,
        network_config=NetworkConfig(net_ns_path=path, **config),  # type: ignore[arg-type]
    )


def filled(name: str = "web") -> PodConfig:
    """A pod with a namespace of its own that a hook fills."""
    hook = Hook(path=sys.executable, args=(sys.executable, "-c", FILL))
    return replace(cnm(name), hooks=Hooks(pre_start=(hook,)))


def left(settings: Settings) -> list[object]:
    return [*mounts.mounts_below(settings.run_dir), *settings.run_dir.rglob("netns")]


async def test_a_pod_has_what_its_hooks_put_into_its_namespace(
    runtime: Runtime, settings: Settings
):
    status = await runtime.run_pod(filled())
    assert status.network is not None
    assert status.network.created
    (one,) = status.network.endpoints
    assert (one.type, one.model, one.tap) == (
        EndpointType.VETH,
        NetInterworkingModel.TC_FILTER,
        "tap0",
    )
    assert one.interface.addresses == ("10.1.2.3/24",)
    inside = netns.inside(Path(status.network.namespace), lans.link_names)
    assert sorted(inside) == ["eth0", "lo", "outside", "tap0"]
    assert (await runtime.stop_pod("web")).network is None
    assert left(settings) == []
    assert (await runtime.start_pod("web")).network is not None
    await runtime.delete_pod("web")
    assert left(settings) == []


@pytest.mark.parametrize("model", ["tc-filter", "bridged"])
async def test_a_given_namespace_is_used_and_given_back(
    runtime: Runtime, lan: lans.Lan, given: Path, model: str
):
    before = lans.picture(given)
    status = await runtime.run_pod(
        cnm(namespace=given, interworking_model=NetInterworkingModel(model))
    )
    assert status.network is not None
    assert not status.network.created
    assert [route.gateway for route in status.network.routes] == ["10.77.0.1"]
    assert lans.picture(given) != before
    await runtime.delete_pod("web")
    assert lans.picture(given) == before


async def test_twenty_pods_leave_everything_as_it_was(
    runtime: Runtime, settings: Settings, lan: lans.Lan
):
    for number in range(20):
        namespace = lan.namespace(f"ns{number}")
        lan.plug(namespace, addresses=(f"10.77.0.{number + 10}/24",))
    before = [lans.picture(path) for path in lan.namespaces]
    own = socket.if_nameindex()
    configs = [cnm(f"pod{n}", lan.root / f"ns{n}") for n in range(20)]
    await asyncio.gather(*(runtime.run_pod(config) for config in configs))
    assert [lans.picture(path) for path in lan.namespaces[1:]] != before[1:]
    await asyncio.gather(*(runtime.delete_pod(config.id) for config in configs))
    assert [lans.picture(path) for path in lan.namespaces] == before
    assert socket.if_nameindex() == own
    assert left(settings) == []


async def test_two_pods_do_not_share_a_namespace(runtime: Runtime, given: Path):
    await runtime.run_pod(cnm("web", given))
    picture = lans.picture(given)
    with pytest.raises(NetworkError, match="is used by pod 'web'"):
        await runtime.run_pod(cnm("other", given))
    assert lans.picture(given) == picture
    assert [one.id for one in await runtime.list_pods()] == ["web"]
    await runtime.delete_pod("web")


@pytest.mark.parametrize("step", ["discover", "wire", "settle_dns"])
@pytest.mark.parametrize("kind", [NetworkError, asyncio.CancelledError])
async def test_a_step_that_fails_undoes_all_before_it(
    runtime: Runtime,
    settings: Settings,
    given: Path,
    step: str,
    kind: type[BaseException],
    monkeypatch: pytest.MonkeyPatch,
):
    before = lans.picture(given)
    real = getattr(endpoints, step)

    async def failing(*args: object, **kwargs: object) -> None:
        done = real(*args, **kwargs)
        if asyncio.iscoroutine(done):
            await done
        raise kind("no")

    def failing_at_once(*args: object) -> None:
        real(*args)
        raise kind("no")

    is_async = asyncio.iscoroutinefunction(real)
    monkeypatch.setattr(endpoints, step, failing if is_async else failing_at_once)
    with pytest.raises(kind):
        await runtime.run_pod(cnm(namespace=given))
    assert lans.picture(given) == before
    with pytest.raises(kind):
        await runtime.run_pod(filled())
    assert left(settings) == []
    assert await runtime.list_pods() == ()


async def test_a_hook_that_fails_leaves_no_namespace(runtime: Runtime, settings: Settings):
    config = replace(filled(), hooks=Hooks(pre_start=(Hook(path="/bin/false"),)))
    with pytest.raises(HookFailed):
        await runtime.run_pod(config)
    assert left(settings) == []


@pytest.mark.parametrize(("module", "name", "when"), STEPS)
async def test_what_a_killed_engine_left_is_removed_by_the_next(
    settings: Settings,
    tmp_path: Path,
    given: Path,
    module: str,
    name: str,
    when: str,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("VCTUI_RUN_DIR", str(settings.run_dir))
    monkeypatch.setenv("VCTUI_STATE_DIR", str(settings.state_dir))
    before = lans.picture(given)
    own = "created" if name in {"create", "run"} and module != "vctui.linux.taps" else "given"
    where = "" if own == "created" else f'net_ns_path = "{given}"'
    file = tmp_path / "web.toml"
    file.write_text(
        f"""
        id = "web"
        hypervisor_type = "mock"
        agent_type = "noop"
        network_model = "CNM"
        network_config = {{ {where} }}
        hooks = {{ pre_start = [{{ path = "/bin/true" }}] }}
        """
    )
    script = KILLED
    if "." in module and module.rpartition(".")[2][0].isupper():
        module, _, owner = module.rpartition(".")
        script = script.replace(
            "importlib.import_module(module)", f"importlib.import_module(module).{owner}"
        )
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", script, str(file), module, name, when],
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    async with Runtime(settings) as runtime:
        status = await runtime.status_pod("web")
        assert (status.state, status.network) == (State.STOPPED, None)
        assert lans.picture(given) == before
        assert left(settings) == []
        await runtime.delete_pod("web")


async def test_a_network_that_cannot_be_left_is_tried_again(
    runtime: Runtime, given: Path, monkeypatch: pytest.MonkeyPatch
):
    before = lans.picture(given)
    await runtime.run_pod(cnm(namespace=given))
    from vctui.drivers.networks.cnm import CnmNetwork

    async def refuse(*_: object) -> None:
        raise NetworkError("the plugin fails")

    with monkeypatch.context() as broken:
        broken.setattr(CnmNetwork, "remove", refuse)
        status = await runtime.stop_pod("web")
        assert status.state is State.STOPPED
        assert status.network is not None
        assert status.network.failed == "the plugin fails"
        assert (await runtime.status_pod("web")).network == status.network
        assert "the plugin fails" in runtime.recent_events()[-2].message
        with pytest.raises(NetworkError, match="the plugin fails"):
            await runtime.delete_pod("web")
    assert lans.picture(given) == before
    await runtime.delete_pod("web")
    assert await runtime.list_pods() == ()


async def test_the_network_of_a_machine_that_died_is_left(
    runtime: Runtime, settings: Settings, given: Path
):
    before = lans.picture(given)
    await runtime.run_pod(cnm(namespace=given))
    store = runtime._reading.store
    with store.transaction() as tx:  # as the monitor does it
        tx.save_pod(recovery.switched_off(tx.pod("web"), reason="it died"))
    async with Runtime(settings) as other:
        status = await other.status_pod("web")
        assert (status.state, status.reason, status.network) == (State.STOPPED, "it died", None)
    assert lans.picture(given) == before
    await runtime.delete_pod("web")


async def test_interfaces_come_and_go_while_the_pod_runs(
    runtime: Runtime, lan: lans.Lan, given: Path
):
    await runtime.run_pod(cnm(namespace=given))
    with pytest.raises(WrongState, match="has no interface that the pod has not"):
        await runtime.connect_pod("web")
    with pytest.raises(InvalidConfig, match="networks have no names"):
        await runtime.connect_pod("web", "pods")
    lan.plug(given, "eth1", addresses=("10.77.0.3/24",))
    before = lans.picture(given)
    status = await runtime.connect_pod("web")
    assert names(status) == ["eth0", "eth1"]
    assert status.network is not None
    assert status.network.endpoints[1].pci_path
    assert status.network.pending == ()
    with pytest.raises(NotFound, match="it has eth0, eth1"):
        await runtime.disconnect_pod("web", "eth7")
    assert names(await runtime.disconnect_pod("web", "eth1")) == ["eth0"]
    assert lans.picture(given) == before
    assert names(await runtime.disconnect_pod("web", "eth0")) == []
    assert names(await runtime.connect_pod("web")) == ["eth0", "eth1"]
    kinds = [one.kind for one in runtime.recent_events()]
    assert kinds.count(EventKind.NETWORK_CONNECTED) == 2
    await runtime.stop_pod("web")
    with pytest.raises(WrongState):
        await runtime.connect_pod("web")
    await runtime.delete_pod("web")


@pytest.mark.parametrize("step", ["wire", "plug"])
async def test_a_connection_that_fails_leaves_the_pod_as_it_was(
    runtime: Runtime, lan: lans.Lan, given: Path, step: str, monkeypatch: pytest.MonkeyPatch
):
    await runtime.run_pod(cnm(namespace=given))
    lan.plug(given, "eth1", addresses=("10.77.0.3/24",))
    before = lans.picture(given)
    real = getattr(endpoints, step)

    async def failing(*args: object) -> None:
        await real(*args)
        raise NetworkError("no")

    with monkeypatch.context() as broken:
        broken.setattr(endpoints, step, failing)
        with pytest.raises(NetworkError, match="no"):
            await runtime.connect_pod("web")
    assert lans.picture(given) == before
    status = await runtime.status_pod("web")
    assert (status.state, names(status)) == (State.RUNNING, ["eth0"])
    await runtime.delete_pod("web")


async def test_a_connection_that_was_cut_off_is_taken_back(
    runtime: Runtime, settings: Settings, lan: lans.Lan, given: Path
):
    await runtime.run_pod(cnm(namespace=given))
    lan.plug(given, "eth1", addresses=("10.77.0.3/24",))
    before = lans.picture(given)
    ctx = runtime._reading
    with ctx.store.transaction() as tx:
        tx.save_pod(replace(tx.pod("web"), operation="connect"))
    (new,) = await endpoints.discover(ctx, "web", processors=1)
    await endpoints.wire(ctx, "web", new)
    assert lans.picture(given) != before
    async with Runtime(settings) as other:
        status = await other.status_pod("web")
        assert (status.state, names(status)) == (State.RUNNING, ["eth0"])
    assert lans.picture(given) == before
    await runtime.delete_pod("web")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/proc/self/ns/net", "is the host's own network"),
        ("/etc/hostname", "is no network namespace"),
        ("/nowhere", "No such file or directory"),
    ],
)
async def test_what_is_no_other_namespace_is_refused_when_the_pod_is_created(
    runtime: Runtime, path: str, words: str
):
    with pytest.raises(VctuiError, match=words):
        await runtime.create_pod(cnm(namespace=Path(path)))
    assert await runtime.list_pods() == ()


async def test_the_hosts_name_servers_serve_where_the_network_names_none(
    runtime: Runtime, given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "resolv.conf"
    file.write_text("nameserver 127.0.0.53\nnameserver 192.0.2.1\nsearch example.org\n")
    monkeypatch.setattr(endpoints, "RESOLVER", file)
    status = await runtime.run_pod(cnm(namespace=given))
    assert status.network is not None
    assert status.network.dns.nameservers == ("192.0.2.1",)
    assert status.network.dns.search == ("example.org",)
    resolver = next(Path(runtime.settings.run_dir).rglob("resolv.conf"))
    assert resolver.read_text() == "nameserver 192.0.2.1\nsearch example.org\n"
    await runtime.delete_pod("web")


def names(status: PodStatus) -> list[str]:
    assert status.network is not None
    return [one.interface.name for one in status.network.endpoints]
