"""What the shell offers for an ID; a completion never fails."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from vctui.engine.runtime import Runtime


def pod_ids(
    context: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The ids of the pods that begin with what was typed."""
    return _items(_pods(context), incomplete)


def container_ids(
    context: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The ids of the containers of the pod that was named before."""
    from vctui.model.ids import resolve

    pods = _pods(context)
    with contextlib.suppress(Exception):
        pod = resolve("pod", str(context.params.get("pod_id", "")), pods)
        return _items(pods[pod], incomplete)
    return []


def places(
    context: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Files of the host, and where the files of a container begin: `POD:CONTAINER:/`."""
    inside = [f"{pod}:{container}:/" for pod, own in _pods(context).items() for container in own]
    return [*_items(inside, incomplete), CompletionItem(incomplete, type="file")]


def network_names(
    context: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The networks of this host that begin with what was typed."""
    names: list[str] = []

    async def collect(runtime: Runtime) -> None:
        found, _problems = await runtime.list_networks()
        names.extend(one.name for one in found)

    _quietly(context, collect)
    return _items(names, incomplete)


def _items(names: object, incomplete: str) -> list[CompletionItem]:
    known = names if isinstance(names, list | dict) else []
    return [CompletionItem(name) for name in known if name.startswith(incomplete)]


def _pods(context: click.Context) -> dict[str, list[str]]:
    """Pod id → ids of its containers, from the store, without touching any pod."""
    found: dict[str, list[str]] = {}

    async def collect(runtime: Runtime) -> None:
        for pod in await runtime.list_pods():
            found[pod.id] = [container.id for container in pod.containers_status]

    _quietly(context, collect)
    return found


def _quietly(
    context: click.Context, collect: Callable[[Runtime], Coroutine[Any, Any, None]]
) -> None:
    from vctui.cli.call import Call

    with contextlib.suppress(Exception):
        call = context.find_object(Call) or Call()
        call.set("read_only", True)
        call.run(collect)
