"""The local store of images.

<folder>/index.json        names, digests, defaults
<folder>/rootfs/<chain>/   the unpacked layers; images with the same layers share one
<folder>/.lock             alone for publishing and removing, shared while an image is taken up
<folder>/.import.lock      one import or removal at a time
<folder>/.draft.…/         an import under way
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from vctui.errors import FileProblem, NotFound, StoreError, WrongState
from vctui.images import DRAFT, archive
from vctui.images.archive import Found
from vctui.images.layer import Unpacker
from vctui.images.stream import LayerStream, Limits
from vctui.linux import files, locks, trees
from vctui.linux.problems import host_problem
from vctui.model.image import Image, image_name

Progress = Callable[[str], None]
InUse = Callable[[str], str]
"""Name of an image → what uses it, in words; "" for nobody."""
T = TypeVar("T")


class _Index(msgspec.Struct, frozen=True):
    images: dict[str, Image] = {}


class ImageStore:
    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder = folder
        self._limits = limits

    # --- reading

    def images(self) -> tuple[Image, ...]:
        """Sorted by name. Raises StoreError."""
        return tuple(image for _, image in sorted(self._index().images.items()))

    def get(self, name: str) -> Image:
        """Raises NotFound, InvalidConfig."""
        full = image_name(name)
        image = self._index().images.get(full)
        if image is None:
            raise NotFound(
                f"there is no image {full!r}; list what there is with `vctui image list`, "
                "or import it"
            )
        return image

    def rootfs(self, image: Image) -> Path:
        """The folder of its unpacked layers. It is shared: nobody writes to it."""
        return self._folder / "rootfs" / image.rootfs

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """While the block runs, no image goes away and no name changes its meaning."""
        self._make_folder()
        async with locks.shared(self._folder / ".lock"):
            yield

    # --- changing

    async def import_(
        self, path: Path, *, name: str, in_use: InUse, progress: Progress
    ) -> tuple[Image, ...]:
        """Take up the images of an archive or layout; `name` is for one that has none, or
        another.

        Raises:
            FileProblem: it is no image, or one that must not be trusted; nothing is left of it.
            InvalidConfig: its name cannot be used.
            WrongState: a container uses another image of that name.
        """
        self._make_folder()
        async with locks.exclusive(self._folder / ".import.lock"):
            self._tidy()
            draft = self._folder / f"{DRAFT}{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
            loop = asyncio.get_running_loop()

            def say(phase: str) -> None:
                loop.call_soon_threadsafe(progress, phase)

            try:
                images = await _in_thread(lambda check: self._unpack(path, draft, name, say, check))
                async with locks.exclusive(self._folder / ".lock"):
                    self._publish(images, in_use)
            except OSError as error:
                raise host_problem(error, f"keep the image in {self._folder}") from error
            finally:
                await asyncio.to_thread(trees.remove_tree, draft)
                self._tidy()
        return images

    async def remove(self, name: str, *, in_use: InUse) -> Image:
        """Raises NotFound, WrongState: a container uses it."""
        self._make_folder()
        async with (
            locks.exclusive(self._folder / ".import.lock"),
            locks.exclusive(self._folder / ".lock"),
        ):
            image = self.get(name)
            if user := in_use(image.name):
                raise WrongState(
                    f"image {image.name!r} is used by {user}; delete that container first"
                )
            index = dict(self._index().images)
            del index[image.name]
            self._save(_Index(index))
            self._tidy()
        return image

    async def sweep(self) -> None:
        """Remove what a killed import left; nothing where one is under way."""
        if not self._folder.is_dir():
            return
        async with locks.try_exclusive(self._folder / ".import.lock") as mine:
            if mine:
                self._tidy()

    # --- inside

    def _unpack(
        self, path: Path, draft: Path, name: str, say: Progress, check: Callable[[], None]
    ) -> tuple[Image, ...]:
        """In a thread. Unpacks into the draft; finished root file systems go to their place."""
        files.private_dir(draft)
        with archive.opened(path, draft, self._limits, check) as source:
            found = archive.find_images(source, stem=_stem(path))
            names = _names(found, name, path)
            images: list[Image] = []
            for number, one in enumerate(found):
                chain = _chain(one)
                place = self._folder / "rootfs" / chain
                size = self._size_of(chain, images)
                if size < 0 or not place.is_dir():
                    size = self._unpack_layers(source, one, draft / str(number), say, check)
                    files.private_dir(place.parent)
                    if place.is_dir():
                        trees.remove_tree(place)
                    (draft / str(number)).rename(place)
                images += [
                    Image(
                        name=each,
                        digest=one.digest,
                        rootfs=chain,
                        size=size,
                        imported=datetime.now(UTC),
                        defaults=one.config.defaults,
                    )
                    for each in names[number]
                ]
        return tuple(images)

    def _unpack_layers(
        self,
        source: archive.Source,
        found: Found,
        target: Path,
        say: Progress,
        check: Callable[[], None],
    ) -> int:
        target.mkdir(0o755)
        target.chmod(0o755)
        unpacker = Unpacker(target, self._limits)
        for number, layer in enumerate(found.layers, 1):
            say(f"unpacking layer {number} of {len(found.layers)}")
            if layer.digest:
                source.check_blob(layer.path, layer.digest, check)
            with source.open(layer.path) as file:
                digest = unpacker.apply(LayerStream(file, self._limits, check))
            if digest != layer.diff_id:
                raise FileProblem(
                    f"layer {number} of the image is not what its digest says; it is damaged or "
                    "was changed, export the image again"
                )
        return unpacker.bytes

    def _size_of(self, chain: str, fresh: list[Image]) -> int:
        """Of a root file system that is there; -1 where no image has it."""
        for image in (*self._index().images.values(), *fresh):
            if image.rootfs == chain:
                return image.size
        return -1

    def _publish(self, images: tuple[Image, ...], in_use: InUse) -> None:
        index = dict(self._index().images)
        for image in images:
            old = index.get(image.name)
            if old and old.rootfs != image.rootfs and (user := in_use(image.name)):
                raise WrongState(
                    f"another image {image.name!r} is used by {user}; delete that container "
                    "first, or give this one another name with --name"
                )
            index[image.name] = image
        self._save(_Index(index))

    def _tidy(self) -> None:
        """Remove drafts, and root file systems that no image has. Nobody imports meanwhile."""
        try:
            needed = {image.rootfs for image in self._index().images.values()}
            for entry in self._folder.iterdir():
                if entry.name.startswith(DRAFT):
                    trees.remove_tree(entry)
            with suppress(FileNotFoundError):
                for entry in (self._folder / "rootfs").iterdir():
                    if entry.name not in needed:
                        trees.remove_tree(entry)
        except OSError as error:
            raise host_problem(error, f"tidy up {self._folder}") from error

    def _index(self) -> _Index:
        path = self._folder / "index.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=_Index)
        except FileNotFoundError:
            return _Index()
        except (OSError, msgspec.MsgspecError) as error:
            raise StoreError(
                f"the list of images {path} cannot be read ({error}); restore it from a backup, "
                "or remove the folder and import the images again"
            ) from error

    def _save(self, index: _Index) -> None:
        files.write_atomic(self._folder / "index.json", msgspec.json.encode(index))

    def _make_folder(self) -> None:
        try:
            files.private_dir(self._folder)
        except OSError as error:
            raise host_problem(error, f"make the folder {self._folder}") from error


class _Stopped(Exception):
    """The import was cancelled; its thread ends by this."""


async def _in_thread(work: Callable[[Callable[[], None]], T]) -> T:
    """Run `work` in a thread; where we are cancelled it is told so, and waited for."""
    stop = threading.Event()

    def check() -> None:
        if stop.is_set():
            raise _Stopped

    task = asyncio.create_task(asyncio.to_thread(work, check))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()
        raise


def _chain(found: Found) -> str:
    return hashlib.sha256("\n".join(found.config.diff_ids).encode()).hexdigest()


def _stem(path: Path) -> str:
    stem = path.absolute().name
    for suffix in (".gz", ".zst", ".tgz", ".tar", ".oci"):
        stem = stem.removesuffix(suffix)
    return stem.lower() or "image"


def _names(found: list[Found], name: str, path: Path) -> list[tuple[str, ...]]:
    """Each image's names. Raises InvalidConfig, FileProblem."""
    if name:
        if len(found) > 1:
            raise FileProblem(
                f"{path} has {len(found)} images; import it without --name, under their own names"
            )
        return [(image_name(name),)]
    if any(not one.names for one in found):
        raise FileProblem(f"{path} does not name its image; give a name with --name NAME:TAG")
    return [tuple(image_name(each) for each in one.names) for one in found]
