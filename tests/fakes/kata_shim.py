"""A kata-shim as proxies-and-shims has it (§4): gRPC on one side, a process's face on the other."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

import grpc

from vctui.wire.pb import agent_pb2 as pb

READ = 32768
REDIAL = 20.0
"""Seconds for which a lost way to the agent is looked for, before a call fails."""
FORWARDED = set(signal.Signals) - {
    *(signal.SIGCHLD, signal.SIGPIPE, signal.SIGKILL, signal.SIGSTOP, signal.SIGWINCH)
}
FATAL = {
    *(signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGQUIT, signal.SIGSEGV),
    *(signal.SIGSTKFLT, signal.SIGSYS, signal.SIGTRAP),
}


class Shim:
    def __init__(self, options: dict[str, str], *, terminal: bool) -> None:
        self.ids = {"container_id": options["-container"], "exec_id": options["-exec-id"]}
        self.terminal = terminal
        agent = options["-agent"].removeprefix("unix://")
        self.channel = grpc.insecure_channel(
            f"unix:{agent}",
            options=[
                ("grpc.default_authority", "localhost"),
                *((f"grpc.{which}_reconnect_backoff_ms", 100) for which in ("initial", "max")),
            ],
        )

    def call(self, method: str, request: object, answer: type | None = None) -> object:
        ask = self.channel.unary_unary(
            f"/grpc.AgentService/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString if answer else None,
        )
        return ask(request)

    def read(self, method: str, fd: int) -> None:
        request = pb.ReadStreamRequest(**self.ids, len=READ)
        while True:
            try:
                data = self.call(method, request, pb.ReadStreamResponse).data  # type: ignore[attr-defined]
            except grpc.RpcError:  # the end is an error, and so is an error
                return
            while data:
                data = data[os.write(fd, data) :]

    def write(self) -> None:
        try:
            while data := os.read(0, READ):
                while data:
                    request = pb.WriteStreamRequest(**self.ids, data=data)
                    taken = self.call("WriteStdin", request, pb.WriteStreamResponse).len  # type: ignore[attr-defined]
                    data = data[taken:]
            self.call("CloseStdin", pb.CloseStdinRequest(**self.ids))
        except (grpc.RpcError, OSError):
            return

    def signal(self, number: int, _frame: FrameType | None) -> None:
        threading.Thread(target=self.forward, args=(number,), daemon=True).start()

    def forward(self, number: int) -> None:
        try:
            if number == signal.SIGWINCH:
                size = os.get_terminal_size(0)
                request = pb.TtyWinResizeRequest(**self.ids, row=size.lines, column=size.columns)
                self.call("TtyWinResize", request)
            else:
                self.call("SignalProcess", pb.SignalProcessRequest(**self.ids, signal=number))
        except (grpc.RpcError, OSError):
            pass
        if number in FATAL:
            os._exit(1)

    def run(self) -> int:
        for number in (*FORWARDED, signal.SIGWINCH):
            signal.signal(number, self.signal)
        if self.terminal:
            import tty

            tty.setraw(0)
        threading.Thread(target=self.write, daemon=True).start()
        readers = [threading.Thread(target=self.read, args=("ReadStdout", 1))]
        if not self.terminal:
            readers.append(threading.Thread(target=self.read, args=("ReadStderr", 2)))
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        # outputs end with the connection as well, and the process is waited for on the next one
        grpc.channel_ready_future(self.channel).result(REDIAL)
        answer = self.call("WaitProcess", pb.WaitProcessRequest(**self.ids), pb.WaitProcessResponse)
        return answer.status & 0xFF  # type: ignore[attr-defined, no-any-return]


def main(arguments: list[str]) -> int:
    terminal = "-terminal" in arguments
    words = [word for word in arguments if word != "-terminal"]
    options = dict(zip(words[::2], words[1::2], strict=True))
    if not {"-agent", "-container", "-exec-id"} <= set(options):
        return 1
    assert set(options) <= {"-agent", "-container", "-exec-id", "-log"}, options
    try:
        return Shim(options, terminal=terminal).run()
    except (grpc.RpcError, grpc.FutureTimeoutError):
        return 1
