"""Live traffic of a pod's interfaces, without asking the guest."""

from __future__ import annotations

from pathlib import Path

from vctui.engine.context import Context
from vctui.linux import counters
from vctui.model.traffic import Traffic


def traffic(ctx: Context, pod_id: str) -> tuple[Traffic, ...]:
    """Of the interfaces that the host can count for; none where the pod does not run.

    Raises:
        NotFound
    """
    record = ctx.store.pod(pod_id)
    if record.network is None or record.machine is None or not record.machine.pid:
        return ()
    try:
        links = counters.within(Path(record.network.namespace))
    except OSError:
        return ()
    found = []
    for endpoint in record.network.endpoints:
        if (link := links.get(endpoint.tap)) is None:
            continue
        into, out = (link.sent, link.sent_packets), (link.received, link.received_packets)
        if endpoint.has_macvtap:  # its own side is the network's, a tap's is the machine's
            into, out = out, into
        found.append(
            Traffic(
                interface=endpoint.interface.name,
                received=into[0],
                received_packets=into[1],
                sent=out[0],
                sent_packets=out[1],
            )
        )
    return tuple(found)
