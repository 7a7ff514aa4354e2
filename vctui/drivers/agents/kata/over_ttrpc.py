"""How the Kata agent's protocol of today is carried: ttrpc on one connection."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from vctui.drivers import ttrpc_client
from vctui.drivers.agents.kata import answers
from vctui.drivers.ttrpc_client import CallFailed, ConnectionLost, Session
from vctui.errors import AgentError, AgentUnreachable
from vctui.wire import ttrpc

if TYPE_CHECKING:
    from google.protobuf.message import Message

AGENT = "grpc.AgentService"
HEALTH = "grpc.Health"
GUEST = "vctui.Guest"
"""What our own agent offers beyond the protocol (wire/pb/guest.proto)."""

_Answer = TypeVar("_Answer", bound="Message")


class TtrpcCarrier:
    """Calls with messages in and out, and our errors."""

    def __init__(self, session: Session, pod: str) -> None:
        self._session = session
        self._pod = pod

    @classmethod
    async def connect(cls, url: str, *, timeout: float) -> TtrpcCarrier:
        """Raises AgentUnreachable."""
        path = Path(url.removeprefix("unix://"))
        pod = path.parent.name
        try:
            return cls(await ttrpc_client.connect(path, timeout=timeout), pod)
        except OSError as error:
            raise AgentUnreachable(
                f"nobody passes calls on to the agent in pod {pod!r}; try again, "
                "its monitor is started anew",
                code=ttrpc.UNAVAILABLE,
            ) from error

    async def close(self) -> None:
        await self._session.close()

    async def call(
        self,
        service: str,
        method: str,
        request: Message,
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
        from google.protobuf.message import DecodeError

        try:
            body = await self._session.call(
                service, method, request.SerializeToString(), timeout=timeout
            )
            return answer.FromString(body)
        except ConnectionLost as error:
            raise self._unreachable(method, error.message) from error
        except TimeoutError as error:
            raise AgentUnreachable(
                f"the agent in pod {self._pod!r} did not answer {method} within {timeout:g} s; "
                "look at its log and console, or raise timeouts.agent",
                code=ttrpc.DEADLINE_EXCEEDED,
            ) from error
        except CallFailed as error:
            if error.code == ttrpc.UNAVAILABLE and method != "TtyWinResize":
                raise self._unreachable(method, error.message) from error
            raise answers.refused(method, self._pod, error) from error
        except DecodeError as error:
            raise AgentError(
                f"the agent in pod {self._pod!r} answers {method} with something that cannot be "
                "decoded; use a guest whose agent speaks the protocol",
                code=ttrpc.INTERNAL,
            ) from error

    def _unreachable(self, method: str, why: str) -> AgentUnreachable:
        return AgentUnreachable(
            f"the agent in pod {self._pod!r} cannot be asked for {method}: "
            f"{answers.sentence(why)}; see the pod's status",
            code=ttrpc.UNAVAILABLE,
        )
