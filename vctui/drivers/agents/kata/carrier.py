"""How the Kata agent's calls are carried: ttrpc or gRPC, with the same errors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from vctui.drivers.agents import words
from vctui.drivers.agents.kata import answers, over_grpc, over_ttrpc
from vctui.drivers.ttrpc_client import CallFailed, ConnectionLost
from vctui.errors import AgentError, AgentUnreachable
from vctui.wire import ttrpc

if TYPE_CHECKING:
    from google.protobuf.message import Message

AGENT = "grpc.AgentService"
HEALTH = "grpc.Health"
GUEST = "vctui.Guest"
"""What our own agent offers beyond the protocol (wire/pb/guest.proto)."""

_Answer = TypeVar("_Answer", bound="Message")


class Request(Protocol):
    """A message of protobuf, or what is like one."""

    def SerializeToString(self) -> bytes: ...  # noqa: N802 - as messages have it


class Session(Protocol):
    """A connection, whatever its protocol (drivers/ttrpc_client, drivers/grpc_client)."""

    async def call(
        self, service: str, method: str, payload: bytes = b"", *, timeout: float | None = None
    ) -> bytes:
        """Raises CallFailed, ConnectionLost, TimeoutError."""

    async def close(self) -> None: ...


class Carrier:
    """Calls with messages in and out, and our errors.

    Args:
        where: the agent is, in words: "in pod 'web'".
        is_first_generation: Kata 1.x answers; its protocol differs in places (gRPC sheet, §3).
    """

    def __init__(self, session: Session, where: str, *, is_first_generation: bool) -> None:
        self._session = session
        self._where = where
        self.is_first_generation = is_first_generation

    @classmethod
    async def connect(cls, url: str, *, timeout: float) -> Carrier:
        """`url` is `unix://PATH`, `vsock://CID:PORT` or `hvsock://PATH:PORT` for ttrpc, and
        `grpc+unix://PATH` for gRPC.

        Raises:
            AgentUnreachable: nobody answers there.
        """
        kind, _, place = url.partition("://")
        pod = f"in pod {Path(place).parent.name!r}"
        where = f"at {url}" if kind == "vsock" else pod
        try:
            session: Session
            if kind.startswith("grpc+"):
                session = await over_grpc.connect(url.removeprefix("grpc+"), timeout=timeout)
            else:
                session = await over_ttrpc.connect(url, timeout=timeout)
            return cls(session, where, is_first_generation=kind.startswith("grpc+"))
        except OSError as error:
            why = "; try again, its monitor is started anew"
            if kind.endswith("vsock"):
                why = f": {error.strerror or error or 'no answer'}; look at the pod's console"
            raise AgentUnreachable(
                f"nobody passes calls on to the agent {where}{why}", code=ttrpc.UNAVAILABLE
            ) from error

    async def close(self) -> None:
        await self._session.close()

    async def call(
        self,
        service: str,
        method: str,
        request: Request,
        answer: type[_Answer],
        *,
        timeout: float,
    ) -> _Answer:
        """One call.

        Raises:
            AgentUnreachable: no answer came within `timeout` seconds, or none will come.
            AgentUnsupported: the agent has no such call.
            AgentError: any other answer that is an error.
        """
        payload = request.SerializeToString()
        try:
            body = await self._session.call(service, method, payload, timeout=timeout)
        except ConnectionLost as error:
            raise self._unreachable(method, error.message) from error
        except TimeoutError as error:
            raise AgentUnreachable(
                f"the agent {self._where} did not answer {method} within {timeout:g} s; "
                "look at its log and console, or raise timeouts.agent",
                code=ttrpc.DEADLINE_EXCEEDED,
            ) from error
        except CallFailed as error:
            if error.code == ttrpc.UNAVAILABLE and method != "TtyWinResize":
                raise self._unreachable(method, error.message) from error
            raise answers.refused(method, self._where, error) from error
        try:
            return answer.FromString(body)
        except ValueError as error:
            raise AgentError(
                f"the agent {self._where} answers {method} with something that cannot be "
                "decoded; use a guest whose agent speaks the protocol",
                code=ttrpc.INTERNAL,
            ) from error

    def _unreachable(self, method: str, why: str) -> AgentUnreachable:
        return AgentUnreachable(
            f"the agent {self._where} cannot be asked for {method}: "
            f"{words.sentence(why)}; see the pod's status",
            code=ttrpc.UNAVAILABLE,
        )
