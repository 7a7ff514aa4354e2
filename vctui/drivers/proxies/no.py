"""No proxy: whoever talks to the agent connects to it himself, on the machine's vsock device.

The monitor is one of them. It knows where the agent is and when it answers.
"""

from __future__ import annotations

from pathlib import Path

from vctui.drivers.proxies.builtin import BuiltinProxy
from vctui.wire import monitor


class NoProxy(BuiltinProxy):
    def _address(self, run_dir: Path, hello: monitor.Hello) -> str:
        if hello.protocol != monitor.GRPC:
            return hello.agent_url
        if hello.agent_url.startswith("vsock://"):
            return f"grpc+{hello.agent_url}"
        return super()._address(run_dir, hello)  # grpcio knows no hybrid sockets
