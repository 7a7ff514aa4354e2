"""No proxy: whoever talks to the agent connects to it himself, on the machine's vsock device.

The monitor is one of them. It knows where the agent is and when it answers. grpcio's packages are
built without vsock, so for its sake the monitor serves a unix socket, of which each connection is
one to the agent.
"""

from __future__ import annotations

from pathlib import Path

from vctui.drivers.proxies.builtin import BuiltinProxy
from vctui.wire import monitor


class NoProxy(BuiltinProxy):
    def _address(self, run_dir: Path, hello: monitor.Hello) -> str:
        if hello.protocol == monitor.GRPC:
            return super()._address(run_dir, hello)
        return hello.agent_url
