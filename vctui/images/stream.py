"""A layer's bytes, forward only: decompressed, hashed, counted and bounded.

Compressed data and tar headers come from strangers: whatever they claim, only so much is read,
held in memory or made of few bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from vctui.errors import FileProblem

CHUNK: Final = 1024 * 1024
MAX_HEADER: Final = 4 * 1024 * 1024
"""Bytes that the headers of one tar entry may take."""
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_ZSTD_WINDOW: Final = 128 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    max_bytes: int
    """Of everything that comes out of an image."""
    max_entries: int = 2_000_000
    max_ratio: int = 250
    """Decompressed to compressed bytes, once there are `ratio_floor` of the former."""
    ratio_floor: int = 256 * 1024 * 1024


def decompressed(file: BinaryIO) -> BinaryIO:
    """`file` from its start as plain bytes: gzip and zstd are known by their first bytes."""
    magic = file.read(4)
    file.seek(0)
    if magic.startswith(_GZIP):
        unpacked: Any = gzip.GzipFile(fileobj=file)
        plain: BinaryIO = unpacked
        return plain
    if magic == _ZSTD:
        import zstandard

        decoder = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
        return decoder.stream_reader(file, read_across_frames=True, closefd=False)
    return file


def is_compressed(file: BinaryIO) -> bool:
    magic = file.read(4)
    file.seek(0)
    return magic.startswith(_GZIP) or magic == _ZSTD


def broken_stream() -> tuple[type[Exception], ...]:
    """What decompressors raise for data that they cannot read."""
    import zstandard

    return (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError)


class LayerStream:
    """What tarfile needs of a file, over data that can only be read once.

    `header_budget` bounds what tarfile reads for headers between two `allow_header` calls.
    """

    def __init__(self, file: BinaryIO, limits: Limits, check: Callable[[], None]) -> None:
        self._file = file
        self._source = decompressed(file)
        self._limits = limits
        self._check = check
        self._position = 0
        self._ahead = b""
        """One byte that tarfile went back over."""
        self._last = b""
        self._hash = hashlib.sha256()
        self._budget = MAX_HEADER

    def allow_header(self) -> None:
        self._budget = MAX_HEADER

    def allow_data(self) -> None:
        self._budget = -1

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0 or size > MAX_HEADER:
            raise FileProblem(
                "the image has a layer with a header of unreasonable size; do not use it"
            )
        if self._budget >= 0:
            if size > self._budget:
                raise FileProblem("the image has a layer with headers without end; do not use it")
            self._budget -= size
        return self._read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == 0 and offset == self._position - 1 and self._last and not self._ahead:
            self._ahead, self._position = self._last, offset
            return offset
        if whence != 0 or offset < self._position:
            raise FileProblem("the image has a layer that is no tar archive; export it again")
        while self._position < offset:
            if not self._read(min(CHUNK, offset - self._position)):
                break
        return self._position

    def finish(self) -> str:
        """Read the rest; the digest of all."""
        while self._read(CHUNK):
            pass
        return f"sha256:{self._hash.hexdigest()}"

    def _read(self, size: int) -> bytes:
        self._check()
        data, self._ahead = self._ahead[:size], b""
        self._position += len(data)
        parts = [data]
        missing = size - len(data)
        while missing > 0 and (fresh := self._source.read(min(missing, CHUNK))):
            self._hash.update(fresh)
            self._position += len(fresh)
            missing -= len(fresh)
            parts.append(fresh)
            self._check_growth()
        result = b"".join(parts)
        self._last = result[-1:] or self._last
        return result

    def _check_growth(self) -> None:
        if self._position > self._limits.max_bytes * 2 + self._limits.ratio_floor:
            raise too_large(self._limits)
        floor, ratio = self._limits.ratio_floor, self._limits.max_ratio
        if (
            self._position > floor
            and self._source is not self._file
            and self._position > ratio * self._file.tell()
        ):
            raise FileProblem(
                f"the image has a layer that grows to more than {ratio} times its size; "
                "do not use it"
            )


def too_large(limits: Limits) -> FileProblem:
    return FileProblem(
        f"the image unpacks to more than {limits.max_bytes // 1024**2} MiB; "
        "raise images.max_bytes in config.toml if you trust it"
    )
