from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vctui.images.store import ImageStore
from vctui.images.stream import Limits


@pytest.fixture
def limits() -> Limits:
    return Limits(max_bytes=8 * 1024**2, max_entries=1000, max_ratio=50, ratio_floor=1024**2)


@pytest.fixture
def store(tmp_path: Path, limits: Limits) -> ImageStore:
    return ImageStore(tmp_path / "images", limits)


@pytest.fixture
def take(store: ImageStore) -> Callable[..., object]:
    async def take(path: Path, name: str = "", user: str = "") -> object:
        return await store.import_(
            path, name=name, in_use=lambda _name: user, progress=lambda _phase: None
        )

    return take
