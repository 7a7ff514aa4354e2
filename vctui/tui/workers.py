"""Work in the background that cannot bring the console down."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from textual.dom import DOMNode
from textual.message import Message


class Failed(Message):
    """Work in the background ended with an error that nobody expected there."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


def start(node: DOMNode, work: Coroutine[Any, Any, None], *, group: str) -> None:
    """Run `work` until it is done or `node` goes away; it replaces what the node has running in
    the same group. An error becomes a Failed message."""

    async def guarded() -> None:
        try:
            await work
        except Exception as error:
            node.post_message(Failed(error))

    node.run_worker(guarded(), group=group, exclusive=True, exit_on_error=False)
