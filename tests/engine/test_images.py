"""Containers of images: defaults, and who holds an image."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.conftest import pod
from tests.images.archives import Image, docker_files, file, layer, write_tar
from vctui.engine.runtime import Runtime
from vctui.errors import InvalidConfig, NotFound, ReadOnly, StoreError, WrongState
from vctui.model.container import Cmd, ContainerConfig, EnvVar
from vctui.settings import Settings

PROCESS = {
    "Entrypoint": ["/bin/app"],
    "Cmd": ["serve"],
    "Env": ["A=image", "B=image"],
    "WorkingDir": "srv",
    "User": "app",
}


@pytest.fixture
async def shop(runtime: Runtime, tmp_path: Path) -> str:
    image = Image((layer(file("bin/app")),), PROCESS)
    path = write_tar(tmp_path / "shop.tar", docker_files(image, "shop:1"))
    (taken,) = await runtime.import_image(path)
    return taken.name


def stored(runtime: Runtime, pod_id: str = "web") -> ContainerConfig:
    return runtime._reading.store.pod(pod_id).containers[0].config


async def test_a_container_has_from_its_image_what_it_leaves_out(runtime, shop) -> None:
    await runtime.create_pod(pod("web", ContainerConfig(id="main", image="docker.io/shop:1")))
    cmd = stored(runtime).cmd
    assert cmd.args == ("/bin/app", "serve")
    assert cmd.envs == (EnvVar("A", "image"), EnvVar("B", "image"))
    assert (cmd.work_dir, cmd.user) == ("/srv", "app")
    status = await runtime.status_container("web", "main")
    assert (status.image, status.rootfs) == ("shop:1", "")


async def test_what_a_container_says_wins_over_its_image(runtime, shop) -> None:
    given = Cmd(args=("-v",), envs=(EnvVar("A", "mine"),), work_dir="/", user="0")
    await runtime.create_pod(pod("web", ContainerConfig(id="main", image=shop, cmd=given)))
    cmd = stored(runtime).cmd
    assert cmd.args == ("/bin/app", "-v")
    assert cmd.envs == (EnvVar("B", "image"), EnvVar("A", "mine"))
    assert (cmd.work_dir, cmd.user) == ("/", "0")


async def test_an_image_that_a_container_names_cannot_be_removed(runtime, shop) -> None:
    await runtime.create_pod(pod("web"))
    await runtime.create_container("web", ContainerConfig(id="shop", image=shop))
    with pytest.raises(WrongState, match="container 'shop' of pod 'web'"):
        await runtime.remove_image(shop)
    await runtime.delete_container("web", "shop")
    await runtime.remove_image(shop)
    assert await runtime.list_images() == ()


async def test_an_unknown_image_makes_no_pod(runtime) -> None:
    with pytest.raises(NotFound, match="vctui image list"):
        await runtime.create_pod(pod("web", ContainerConfig(id="main", image="nothing:1")))
    assert await runtime.list_pods() == ()


async def test_an_image_that_says_nothing_needs_args(runtime, tmp_path) -> None:
    path = write_tar(tmp_path / "a.tar", docker_files(Image((layer(file("a")),)), "mute:1"))
    await runtime.import_image(path)
    with pytest.raises(InvalidConfig, match=r"give container 'main' cmd\.args"):
        await runtime.create_pod(pod("web", ContainerConfig(id="main", image="mute:1")))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({}, "rootfs is missing"),
        ({"image": "a:1", "rootfs": "busybox"}, "both given"),
        ({"image": "A B"}, "no image name"),
        ({"rootfs": "busybox"}, "args is empty"),
    ],
)
async def test_exactly_one_of_rootfs_and_image(runtime, keys, words: str) -> None:
    with pytest.raises(InvalidConfig, match=words):
        await runtime.create_pod(pod("web", ContainerConfig(id="main", **keys)))


async def test_a_read_only_runtime_takes_up_and_removes_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    async with Runtime(settings, read_only=True) as runtime:
        with pytest.raises(ReadOnly):
            await runtime.import_image(tmp_path / "a.tar")
        with pytest.raises(ReadOnly):
            await runtime.remove_image("a:1")
        assert await runtime.list_images() == ()


async def test_a_given_entry_point_takes_the_place_of_the_images(runtime, shop) -> None:
    config = ContainerConfig(id="main", image=shop, entrypoint=("/bin/sh",), cmd=Cmd(args=("x",)))
    alone = ContainerConfig(id="alone", image=shop, entrypoint=("/bin/sh",))
    await runtime.create_pod(pod("web", config, alone))
    assert stored(runtime).cmd.args == ("/bin/sh", "x")
    assert (await runtime.status_container("web", "alone")).args == ("/bin/sh",)
    bad = ContainerConfig(id="bad", rootfs="busybox", entrypoint=("a",), cmd=Cmd(args=("b",)))
    with pytest.raises(InvalidConfig, match="entrypoint is given without an image"):
        await runtime.create_container("web", bad)


async def test_what_a_killed_import_left_goes_when_the_engine_opens(
    settings: Settings, tmp_path: Path
) -> None:
    draft = tmp_path / "state/images/.draft.dead"
    (draft / "0/bin").mkdir(parents=True)
    async with Runtime(settings):
        assert not draft.exists()


async def test_a_damaged_store_of_images_keeps_nobody_from_his_pods(
    settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "state/images"
    (folder / ".draft.dead").mkdir(parents=True)
    (folder / "index.json").write_text("{")
    async with Runtime(settings) as runtime:
        assert await runtime.list_pods() == ()
        with pytest.raises(StoreError, match="list of images"):
            await runtime.list_images()
