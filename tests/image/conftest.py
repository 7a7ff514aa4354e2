"""Built guests for the tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from vctui import settings
from vctui.settings import Settings


@pytest.fixture
def shared_settings(guest_cache: Path) -> Settings:
    """Settings with the cache that all tests share."""
    return settings.load(overrides={"cache_dir": str(guest_cache)})


@pytest.fixture
def own_settings(tmp_path: Path) -> Settings:
    """Settings with an empty cache."""
    return settings.load(overrides={"cache_dir": str(tmp_path / "cache")})


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A folder whose path leaves room for the names of sockets."""
    with TemporaryDirectory(prefix="vctui-boot-") as name:
        yield Path(name)
