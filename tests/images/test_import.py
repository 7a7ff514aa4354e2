"""Archives and layouts become images of the local store, whole or not at all."""

from __future__ import annotations

import asyncio
import gzip
import json

import pytest

from tests.images.archives import (
    Image,
    docker_files,
    file,
    layer,
    oci_files,
    sha256,
    write_folder,
    write_tar,
)
from vctui.errors import FileProblem, InvalidConfig, NotFound, StoreError, WrongState
from vctui.images.store import ImageStore
from vctui.model.container import EnvVar

IMAGE = Image(
    (layer(file("bin/app", "#!"), file("old")), layer(file(".wh.old"), file("new"))),
    {
        "Entrypoint": ["/bin/app"],
        "Cmd": ["serve"],
        "Env": ["PATH=/bin", "A=b=c", "broken"],
        "WorkingDir": "/srv",
        "User": "app:staff",
    },
)


def left(store) -> set[str]:
    """What is in the store's folder besides its locks."""
    folder = store._folder
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if "lock" not in path.name and len(path.relative_to(folder).parts) < 3
    }


def files_of(store, name: str) -> set[str]:
    root = store.rootfs(store.get(name))
    return {str(path.relative_to(root)) for path in root.rglob("*")}


@pytest.mark.parametrize("compression", ["", "gzip", "zstd"])
@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive", "oci-layout"])
async def test_an_image_is_taken_up(store, take, tmp_path, kind: str, compression: str) -> None:
    image = Image(IMAGE.layers, IMAGE.process, compression)
    if kind == "docker-archive":
        path = write_tar(tmp_path / "a.tar", docker_files(image, "docker.io/library/app:1"))
    elif kind == "oci-archive":
        path = write_tar(tmp_path / "a.tar", oci_files([(image, "app:1")]))
    else:
        path = write_folder(tmp_path / "a", oci_files([(image, "app:1")]))
    (taken,) = await take(path)
    assert taken == store.get("app:1")
    assert taken.digest == sha256(image.config)
    assert files_of(store, "app:1") == {"bin", "bin/app", "new"}
    defaults = taken.defaults
    assert (defaults.entrypoint, defaults.cmd) == (("/bin/app",), ("serve",))
    assert defaults.envs == (EnvVar("PATH", "/bin"), EnvVar("A", "b=c"))
    assert (defaults.work_dir, defaults.user) == ("/srv", "app:staff")


async def test_a_compressed_archive_is_taken_up_too(store, take, tmp_path) -> None:
    plain = write_tar(tmp_path / "a.tar", docker_files(IMAGE, "app:1"))
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(plain.read_bytes()))
    await take(tmp_path / "a.tar.gz")
    assert files_of(store, "app:1") == {"bin", "bin/app", "new"}


async def test_the_image_for_our_platform_is_chosen_from_an_index(store, take, tmp_path) -> None:
    arm = Image((layer(file("arm")),), platform=("linux", "arm64"))
    await take(write_folder(tmp_path / "app", oci_files([(arm, "1"), (IMAGE, "1")])))
    assert "new" in files_of(store, "app:1")


async def test_an_image_for_another_platform_is_refused(take, tmp_path) -> None:
    arm = Image((layer(file("arm")),), platform=("linux", "arm64"))
    with pytest.raises(FileProblem, match="linux/arm64"):
        await take(write_folder(tmp_path / "app", oci_files([(arm, "1")])))
    with pytest.raises(FileProblem, match="linux/arm64"):
        await take(write_tar(tmp_path / "d.tar", docker_files(arm, "a:1")))


async def test_names(store, take, tmp_path) -> None:
    nameless = write_tar(tmp_path / "a.tar", docker_files(IMAGE))
    with pytest.raises(FileProblem, match="--name"):
        await take(nameless)
    with pytest.raises(InvalidConfig, match="no image name"):
        await take(nameless, name="Not A Name")
    await take(nameless, name="mine")
    assert [image.name for image in store.images()] == ["mine:latest"]


async def test_images_with_the_same_layers_share_their_files(store, take, tmp_path) -> None:
    one = write_tar(tmp_path / "a.tar", docker_files(IMAGE, "a:1", "b:2"))
    await take(one)
    await take(one, name="c:3")
    assert len({image.rootfs for image in store.images()}) == 1
    for name in ("a:1", "c:3"):
        await store.remove(name, in_use=lambda _name: "")
    assert "new" in files_of(store, "b:2")
    await store.remove("b:2", in_use=lambda _name: "")
    assert left(store) == {"index.json", "rootfs"}
    with pytest.raises(NotFound):
        store.get("b:2")


def _with_changed_layer(files: dict[str, bytes]) -> dict[str, bytes]:
    other = layer(file("bin/app", "changed"))
    return {
        name: other
        if data == IMAGE.layers[0] or data == gzip.compress(IMAGE.layers[0], 1)
        else data
        for name, data in files.items()
    }


BROKEN = {
    "a changed layer (docker)": _with_changed_layer(docker_files(IMAGE, "a:1")),
    "a changed layer (oci)": _with_changed_layer(oci_files([(IMAGE, "a:1")])),
    "no manifest": {"readme": b""},
    "a missing layer": {
        name: data for name, data in docker_files(IMAGE, "a:1").items() if "layer1" not in name
    },
    "a manifest that is no JSON": {**docker_files(IMAGE), "manifest.json": b"{"},
    "a manifest with a path out of it": {
        "manifest.json": json.dumps(
            [{"Config": "../../etc/passwd", "RepoTags": ["a:1"], "Layers": []}]
        ).encode()
    },
    "a digest that is a path": {
        "index.json": b'{"manifests": [{"digest": "sha256:../../../../etc/passwd"}]}'
    },
    "a hostile layer": docker_files(Image((layer(file("../x")),)), "a:1"),
    "a changed configuration": {
        name: data.replace(b"serve", b"spoof") for name, data in docker_files(IMAGE, "a:1").items()
    },
}


@pytest.mark.parametrize("kind", ["archive", "folder"])
@pytest.mark.parametrize("files", BROKEN.values(), ids=BROKEN)
async def test_a_broken_image_leaves_nothing(store, take, tmp_path, files, kind: str) -> None:
    write = write_tar if kind == "archive" else write_folder
    with pytest.raises(FileProblem):
        await take(write(tmp_path / "broken", files))
    assert left(store) <= {"rootfs"}


@pytest.mark.parametrize(
    "content", [b"", b"no tar at all" * 100, b"\x1f\x8bbroken", b"\x28\xb5\x2f\xfdx"]
)
async def test_what_is_no_archive_is_refused(take, tmp_path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(FileProblem):
        await take(tmp_path / "file")
    with pytest.raises(FileProblem, match="cannot read"):
        await take(tmp_path / "missing")


async def test_an_image_in_use_cannot_be_removed_or_replaced(store, take, tmp_path) -> None:
    await take(write_tar(tmp_path / "a.tar", docker_files(IMAGE, "a:1")))
    with pytest.raises(WrongState, match="container 'x'"):
        await store.remove("a:1", in_use=lambda _name: "container 'x'")
    other = write_tar(tmp_path / "b.tar", docker_files(Image((layer(file("b")),)), "a:1"))
    with pytest.raises(WrongState, match="--name"):
        await take(other, user="container 'x'")
    assert "new" in files_of(store, "a:1")
    assert len(list((store._folder / "rootfs").iterdir())) == 1
    await take(other)
    assert files_of(store, "a:1") == {"b"}
    assert len(list((store._folder / "rootfs").iterdir())) == 1


async def test_an_interrupted_import_leaves_nothing(store, take, tmp_path, monkeypatch) -> None:
    path = write_tar(tmp_path / "a.tar", docker_files(IMAGE, "a:1"))
    started = asyncio.Event()

    async def interrupted() -> None:
        await store.import_(
            path, name="", in_use=lambda _name: "", progress=lambda _phase: started.set()
        )

    from vctui.images.layer import Unpacker

    def endless(self, stream):
        while True:  # until the stream is told to stop
            stream._check()

    monkeypatch.setattr(Unpacker, "apply", endless)
    task = asyncio.create_task(interrupted())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left(store) == set()


async def test_images_are_taken_up_and_removed_at_once(store, take, tmp_path) -> None:
    """By stores of their own, as in processes of their own: nobody's files are swept away."""
    archives = [
        write_tar(
            tmp_path / f"{number}.tar", docker_files(IMAGE, f"same:{number}", f"more:{number}")
        )
        for number in range(4)
    ]
    other = write_tar(tmp_path / "b.tar", docker_files(Image((layer(file("b")),)), "b:1"))
    await take(other)
    stores = [ImageStore(store._folder, store._limits) for _ in archives]
    await asyncio.gather(
        *(
            one.import_(path, name="", in_use=lambda _name: "", progress=lambda _phase: None)
            for one, path in zip(stores, archives, strict=True)
        ),
        stores[0].remove("b:1", in_use=lambda _name: ""),
        *(one.sweep() for one in stores),
    )
    names = {f"{name}:{number}" for name in ("same", "more") for number in range(4)}
    assert {image.name for image in store.images()} == names
    assert len(left(store)) == 3
    for name in names:
        assert "new" in files_of(store, name)


async def test_what_a_killed_import_left_is_swept_away(store, take, tmp_path) -> None:
    await take(write_tar(tmp_path / "a.tar", docker_files(IMAGE, "a:1")))
    (store._folder / ".draft.dead/0").mkdir(parents=True)
    (store._folder / "rootfs/unknown").mkdir()
    await store.sweep()
    assert len(left(store)) == 3
    assert "new" in files_of(store, "a:1")


async def test_a_damaged_list_is_said_and_kept(store, take, tmp_path) -> None:
    await take(write_tar(tmp_path / "a.tar", docker_files(IMAGE, "a:1")))
    (store._folder / "index.json").write_text("{")
    with pytest.raises(StoreError, match="cannot be read"):
        store.images()
    with pytest.raises(StoreError):
        await store.sweep()
    assert len(list((store._folder / "rootfs").iterdir())) == 1
