"""What a start waits for, begun before the engine is loaded: until then a processor is idle.

Imported before the rest of the engine, so it imports little.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vctui.model.pod import PodConfig
    from vctui.settings import Settings


@contextlib.contextmanager
def of(pod: PodConfig | None, settings: Settings) -> Iterator[None]:
    """In the block, `pod` is going to be started. What is begun for it touches nothing until it is;
    where it is not, that is ended with the block, and with us."""
    if pod is None:
        yield
        return
    from vctui.engine import paths, registry

    proxy, run_dir = registry.proxy(pod, settings), paths.of_pod(settings, pod.id).run
    proxy.load(pod_id=pod.id, run_dir=run_dir)
    try:
        yield
    finally:
        proxy.unload(run_dir)
