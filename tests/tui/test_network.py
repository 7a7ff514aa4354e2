"""The network tab, and the key that forwards ports."""

from __future__ import annotations

import msgspec
import pytest
from textual.widgets import Input

from tests.fakes.fake_runtime import FakeRuntime, make_network, make_pod
from tests.tui.conftest import OpenConsole
from vctui.errors import HostProblem, WrongState
from vctui.model.ports import PortPair
from vctui.model.state import State
from vctui.tui.screens.forward import AskPorts
from vctui.tui.widgets import network_tab


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_tab, "INTERVAL", 0.02)


def fleet() -> FakeRuntime:
    web = msgspec.structs.replace(make_pod("web"), network=make_network("eth0", "eth1"))
    return FakeRuntime([web, make_pod("lone"), make_pod("old", State.STOPPED)])


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_a_pods_network_is_shown_with_live_rates(
    open_console: OpenConsole, size: tuple[int, int]
) -> None:
    async with open_console(fleet(), size=size) as console:
        await console.press("7")
        await console.sees("Interface eth0")
        if size[1] > 24:
            await console.sees("default via 10.88.0.1 dev eth0")
            await console.sees("10.88.0.1 search pods.example")
            await console.sees("Interface eth1")
        await console.press("tab", "tab", "tab", "z")
        await console.sees("10.88.0.2/16, fd00:0::2/64")
        await console.sees("veth, tc-filter")
        await console.until(lambda: "▁" in console.text or "█" in console.text)
        shown = [line for line in console.text.splitlines() if " received " in line]
        assert "iB/s" in shown[0]


async def test_a_pod_without_a_network_says_so(open_console: OpenConsole) -> None:
    async with open_console(fleet()) as console:
        await console.press("7")
        await console.select("lone")
        await console.sees("lone has no network now.")
        looks = console.runtime._looks
        await console.pilot.pause(0.1)
        assert console.runtime._looks == looks


async def test_nothing_is_sampled_behind_another_tab(open_console: OpenConsole) -> None:
    async with open_console(fleet()) as console:
        await console.press("7")
        await console.until(lambda: console.runtime._looks > 2)
        await console.press("5")
        await console.pilot.pause(0.05)
        looks = console.runtime._looks
        await console.pilot.pause(0.1)
        assert console.runtime._looks == looks


async def test_ports_are_forwarded_shown_and_ended(open_console: OpenConsole) -> None:
    async with open_console(fleet()) as console:
        await console.press("F")
        await console.until(lambda: isinstance(console.app.screen, AskPorts))
        await console.press(*"nonsense", "enter")
        await console.sees("is no pair of ports")
        console.app.screen.query_one(Input).value = "8080:80 0:443"
        await console.press("enter")
        await console.until(
            lambda: (
                console.runtime.called("port_forward")
                == [("web", PortPair(8080, 80), PortPair(0, 443))]
            )
        )
        await console.sees("$ vctui pod port-forward web 8080:80 0:443")
        await console.until(lambda: "127.0.0.1:8080 → 80" in str(console.notices))
        await console.press("7")
        await console.until(lambda: console.app.gateway.forwarded)
        await console.press("F")
        await console.sees("127.0.0.1:40000 → 443")
        await console.press("enter")
        await console.until(lambda: console.runtime.called("forward closed") == [("web",)])
        await console.until(lambda: not console.app.gateway.forwarded)


@pytest.mark.parametrize("pod", ["web", "lone"])
async def test_forwarded_ports_stand_on_the_network_tab(
    open_console: OpenConsole, pod: str
) -> None:
    """Also of a pod without a network, whose loopback device they lead to."""
    async with open_console(fleet(), size=(120, 50)) as console:
        await console.press("7")
        await console.select(pod)
        await console.app.gateway.forward(pod, [PortPair(8080, 80)])
        await console.sees("127.0.0.1:8080 → 80")


async def test_the_pods_end_and_lost_connections_are_told(open_console: OpenConsole) -> None:
    async with open_console(fleet()) as console:
        await console.app.gateway.forward("web", [PortPair(8080, 80)])
        console.runtime.forwards[0].tell("nobody in pod 'web' listens on port 80")
        await console.until(lambda: "nobody in pod 'web' listens on port 80" in console.notices)
        console.runtime.forwards[0].end(WrongState("pod 'web' is stopped; start it first"))
        await console.until(lambda: "pod 'web' is stopped; start it first" in console.notices)
        await console.until(lambda: not console.app.gateway.forwarded)


async def test_a_port_that_cannot_be_had_is_an_error(open_console: OpenConsole) -> None:
    runtime = fleet()
    runtime.fail("port_forward", HostProblem("cannot listen on port 80"))
    async with open_console(runtime) as console:
        await console.press("F")
        await console.until(lambda: isinstance(console.app.screen, AskPorts))
        await console.press(*"80", "enter")
        await console.until(lambda: "cannot listen on port 80" in console.notices)
        assert console.app.gateway.forwarded == ()


async def test_forwards_end_with_the_console(open_console: OpenConsole) -> None:
    runtime = fleet()
    async with open_console(runtime) as console:
        await console.app.gateway.forward("web", [PortPair(8080, 80)])
    assert runtime.called("forward closed") == [("web",)]


async def test_no_ports_are_offered_where_they_cannot_be(open_console: OpenConsole) -> None:
    async with open_console(fleet()) as console:
        assert "ports" in console.footer
        await console.select("old")
        await console.until(lambda: "ports" not in console.footer)
    async with open_console(fleet(), read_only=True) as console:
        assert "ports" not in console.footer
