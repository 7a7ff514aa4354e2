"""A small blocking ttrpc client, for tests of the agent."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from vctui.wire import ttrpc
from vctui.wire.pb import agent_pb2, guest_pb2, health_pb2, oci_pb2, ttrpc_pb2, types_pb2

AGENT = "grpc.AgentService"
HEALTH = "grpc.Health"
GUEST = "vctui.Guest"
TIMEOUT = 60.0

_ANSWERS: dict[str, type[Message]] = {
    "Check": health_pb2.HealthCheckResponse,
    "Version": health_pb2.VersionCheckResponse,
    "WaitProcess": agent_pb2.WaitProcessResponse,
    "ReadStdout": agent_pb2.ReadStreamResponse,
    "ReadStderr": agent_pb2.ReadStreamResponse,
    "WriteStdin": agent_pb2.WriteStreamResponse,
    "StatsContainer": agent_pb2.StatsContainerResponse,
    "GetGuestDetails": agent_pb2.GuestDetailsResponse,
    "GetOOMEvent": agent_pb2.OOMEvent,
    "GetMetrics": agent_pb2.Metrics,
    "ListInterfaces": agent_pb2.Interfaces,
    "UpdateInterface": types_pb2.Interface,
    "ListRoutes": agent_pb2.Routes,
    "UpdateRoutes": agent_pb2.Routes,
    "ListProcesses": guest_pb2.ListProcessesResponse,
    "GetTimeline": guest_pb2.GetTimelineResponse,
}


class CallError(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Pending:
    """A call whose answer has not been awaited."""

    def __init__(self, client: Client, stream: int, method: str) -> None:
        self._client = client
        self.stream = stream
        self._method = method

    @property
    def answered(self) -> bool:
        """Looks at what has come, without waiting."""
        self._client.receive(wait=0)
        return self.stream in self._client.answers

    def result(self) -> Any:
        while self.stream not in self._client.answers:
            self._client.receive()
        response = self._client.answers.pop(self.stream)
        if response.status.code:
            raise CallError(response.status.code, response.status.message)
        answer = _ANSWERS.get(self._method)
        if answer is None:
            return response.payload
        return answer.FromString(response.payload)


class Client:
    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        sock.settimeout(TIMEOUT)
        self._decoder = ttrpc.Decoder()
        self._stream = -1
        self.answers: dict[int, Any] = {}

    @classmethod
    def connect(cls, path: Path) -> Client:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(str(path))
        except OSError:
            sock.close()
            raise
        return cls(sock)

    def start(
        self, method: str, request: Message | bytes, *, service: str = AGENT, timeout: float = 0
    ) -> Pending:
        self._stream += 2
        payload = request if isinstance(request, bytes) else request.SerializeToString()
        envelope = ttrpc_pb2.Request(
            service=service, method=method, payload=payload, timeout_nano=int(timeout * 1e9)
        )
        data = envelope.SerializeToString()
        self.socket.sendall(ttrpc.encode(self._stream, ttrpc.REQUEST, data))
        return Pending(self, self._stream, method)

    def call(self, method: str, request: Message | bytes = b"", **how: Any) -> Any:
        return self.start(method, request, **how).result()

    def receive(self, *, wait: float = TIMEOUT) -> None:
        """Take what has come, waiting for it; nothing within a `wait` under TIMEOUT is fine."""
        self.socket.settimeout(wait)
        try:
            data = self.socket.recv(1024 * 1024)
        except (BlockingIOError, TimeoutError):
            if wait >= TIMEOUT:
                raise
            return
        finally:
            self.socket.settimeout(TIMEOUT)
        if not data:
            raise ConnectionError("the agent has left")
        for frame in self._decoder.feed(data):
            self.answers[frame.stream_id] = ttrpc_pb2.Response.FromString(frame.data)

    def close(self) -> None:
        self.socket.close()

    # what tests do often

    def read_all(self, container_id: str, exec_id: str = "", method: str = "ReadStdout") -> bytes:
        parts = []
        request = agent_pb2.ReadStreamRequest(
            container_id=container_id, exec_id=exec_id, len=256 * 1024
        )
        while data := self.call(method, request).data:
            parts.append(data)
        return b"".join(parts)

    def wait(self, container_id: str, exec_id: str = "") -> int:
        request = agent_pb2.WaitProcessRequest(container_id=container_id, exec_id=exec_id)
        return self.call("WaitProcess", request).status

    def run(self, container_id: str, exec_id: str, *args: str, **process: Any) -> bytes:
        """Exec a command; gives its output when it has ended."""
        self.call("ExecProcess", exec_request(container_id, exec_id, *args, **process))
        return self.read_all(container_id, exec_id)


def exec_request(container_id: str, exec_id: str, *args: str, **process: Any) -> Message:
    process.setdefault("Env", ["PATH=/bin:/usr/bin", "TERM=xterm"])
    process.setdefault("Cwd", "/")
    return agent_pb2.ExecProcessRequest(
        container_id=container_id,
        exec_id=exec_id,
        process=oci_pb2.Process(Args=args, **process),
    )
