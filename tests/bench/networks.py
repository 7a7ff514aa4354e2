"""Bytes from a pod to the host and round trips, for each way to connect an interface.

The host is a network namespace with a bridge, made here; the pods are in others that are plugged
into it. Guests measure round trips themselves, so no start of a process is in them.
"""

from __future__ import annotations

import asyncio
import re
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from tests import lan
from tests.bench.boots import POD
from tests.bench.figures import Figure
from tests.bench.host import Bench, cpu, yardstick
from vctui.engine.runtime import Runtime
from vctui.linux import probe
from vctui.model.container import Cmd
from vctui.model.kinds import NetInterworkingModel, NetworkModel
from vctui.model.network import NetworkConfig

_MODELS: Final = (
    NetInterworkingModel.TC_FILTER,
    NetInterworkingModel.BRIDGED,
    NetInterworkingModel.MACVTAP,
    NetInterworkingModel.ENLIGHTENED,
)
_NEED_MACVTAP: Final = _MODELS[2:]
"""The last one's pod has a macvtap that was made for it."""
_CARD: Final = "card0"
_SENT: Final = 16 << 20
"""Bytes of one sample."""
_PINGS: Final = 20
_HOST: Final = "10.77.0.1"
_THROUGHPUT_REACH: Final = 20
_ROUND_TRIP_REACH: Final = 5
"""MB/s and ms of an emulated guest; no promises of the design, but what should be had."""
_AVERAGE: Final = re.compile(r"= [\d.]+/([\d.]+)/[\d.]+ ms")


async def figures(bench: Bench) -> list[Figure]:
    """Of the models that the kernel has; needs root, and gives nothing without."""
    if not probe.is_root():
        return []
    found = []
    with (
        tempfile.TemporaryDirectory(prefix="vctui-bench-net-") as folder,
        lan.made(Path(folder)) as network,
    ):
        card = network.namespace("card")
        network.plug(card, _CARD, addresses=())
        has_macvtap = lan.has_kind(card, "macvtap", _CARD)
        for number, model in enumerate(_MODELS, 2):
            if has_macvtap or model not in _NEED_MACVTAP:
                found += await _of_model(bench, network, model, number)
    return found


async def _of_model(
    bench: Bench, network: lan.Lan, model: NetInterworkingModel, number: int
) -> list[Figure]:
    namespace = network.namespace(model.value)
    address = f"10.77.0.{number}/24"
    if model is NetInterworkingModel.ENLIGHTENED:
        lan.share(network.root / "card", _CARD, namespace, "macvtap", addresses=(address,))
    else:
        network.plug(namespace, addresses=(address,))
    config = NetworkConfig(net_ns_path=str(namespace), interworking_model=model)
    pod = msgspec.structs.replace(POD, network_model=NetworkModel.CNM, network_config=config)
    async with Runtime(bench.settings) as runtime:
        status = await runtime.run_pod(pod)
        if status.machine is None:
            raise RuntimeError("the pod has no machine")
        try:
            pid = status.machine.pid
            return [
                await _throughput(bench, runtime, network, model, pid),
                await _round_trips(bench, runtime, model, pid),
            ]
        finally:
            await runtime.delete_pod(pod.id)


async def _throughput(
    bench: Bench, runtime: Runtime, network: lan.Lan, model: NetInterworkingModel, pid: int
) -> Figure:
    samples, costs, yards = [], [], []
    for _ in range(bench.runs):
        yards.append(yardstick())
        before = cpu(pid)
        with _sink(network) as sink:
            # nc only makes the connection: it would send a packet for each KiB
            send = f"nc {_HOST} {sink.port} -e dd if=/dev/zero bs=64k count={_SENT >> 16}"
            await _shell(runtime, send)
            await asyncio.to_thread(sink.done.wait)
        samples.append(sink.size / 1e6 / sink.took)
        costs.append((cpu(pid) - before) / (sink.size / 1e6))
    return Figure(
        key=f"net-sent-{model.value}",
        name=f"bytes from a pod to the host, {model.value}",
        samples=samples,
        unit="MB/s",
        reach=_THROUGHPUT_REACH,
        costs=costs,
        yards=yards,
        tolerance=1.0,  # emulated copying depends on the host's caches more than on us
        more_is_better=True,
    )


async def _round_trips(
    bench: Bench, runtime: Runtime, model: NetInterworkingModel, pid: int
) -> Figure:
    samples, costs, yards = [], [], []
    for _ in range(bench.runs):
        yards.append(yardstick())
        before = cpu(pid)
        said = await _shell(runtime, f"ping -q -c {_PINGS} -i 0.05 {_HOST}")
        if (average := _AVERAGE.search(said)) is None:
            raise RuntimeError(f"the pod does not reach the host: {said}")
        samples.append(float(average[1]))
        costs.append((cpu(pid) - before) / _PINGS)
    return Figure(
        key=f"net-trip-{model.value}",
        name=f"round trip from a pod to the host, {model.value}",
        samples=samples,
        unit="ms",
        reach=_ROUND_TRIP_REACH,
        costs=costs,
        yards=yards,
        tolerance=1.0,  # little is measured
    )


class _Sink:
    """Takes one connection on the host and counts what comes."""

    def __init__(self, listening: socket.socket) -> None:
        self.port = int(listening.getsockname()[1])
        self.size, self.took = 0, 0.0
        self.done = threading.Event()
        self._listening = listening
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        connection, _ = self._listening.accept()
        with connection:
            begin = time.perf_counter()
            while taken := len(connection.recv(1 << 20)):
                self.size += taken
            self.took = time.perf_counter() - begin
        self.done.set()


@contextmanager
def _sink(network: lan.Lan) -> Iterator[_Sink]:
    with network.inside(socket.create_server, (_HOST, 0)) as listening:
        yield _Sink(listening)


async def _shell(runtime: Runtime, script: str) -> str:
    process = await runtime.enter_container(POD.id, "main", Cmd(args=("sh", "-c", script)))
    attachment = await runtime.attach(POD.id, "main", process.token)
    await attachment.close_stdin()
    said = b"".join([output.data async for output in attachment])
    return said.decode(errors="replace")
