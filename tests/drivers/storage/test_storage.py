"""Promises of root file systems and bind mounts in a pod's share."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing
from pathlib import Path

import pytest

from vctui.drivers.storage import mounts as bind_mounts
from vctui.drivers.storage import rootfs, scratch, share
from vctui.errors import FileProblem, GuestNotBuilt, HostProblem, InvalidConfig, PermissionProblem
from vctui.linux import mounts, probe
from vctui.model.container import Cmd, ContainerConfig, Mount


class Pod:
    """Where one pod's things lie."""

    def __init__(self, root: Path) -> None:
        self.share = root / "run/share"
        self.copies = root / "state/rootfs/web"
        self.places: dict[str, str] = {}
        self.templates = {"busybox": root / "template"}
        (root / "template/bin").mkdir(parents=True)
        (root / "template/bin/sh").write_text("#!")
        (root / "template/passwd").symlink_to("/etc/passwd")

    async def prepare(self, config: ContainerConfig, image: Path | None = None) -> str:
        place = self.places[config.id] = share.new_place(config.id, share=self.share)
        return await rootfs.prepare_rootfs(
            config,
            share=self.share,
            place=place,
            copies=self.copies,
            templates=self.templates,
            image=image,
        )

    def shown(self, container_id: str = "app") -> Path:
        """What the guest is shown of a container."""
        return self.share / self.places[container_id]

    def forget(self, container_id: str = "app") -> None:
        share.forget(container_id, share=self.share, copies=self.copies)


@pytest.fixture
def pod(tmp_path):
    pod = Pod(tmp_path)
    share.make_share(pod.share, pod.copies)
    yield pod
    mounts.unmount_below(tmp_path)
    assert mounts.mounts_below(tmp_path) == ()


@pytest.fixture
def plain_user(monkeypatch):
    monkeypatch.setattr(probe, "is_root", lambda: False)


@pytest.fixture
def user_pod(plain_user, tmp_path):
    """A pod of a user who cannot mount."""
    pod = Pod(tmp_path)
    share.make_share(pod.share, pod.copies)
    return pod


def container(source: object = "busybox", *mounted: Mount, container_id: str = "app"):
    return ContainerConfig(
        id=container_id, rootfs=str(source), cmd=Cmd(args=("sh",)), mounts=mounted
    )


def tree(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


@pytest.mark.root
async def test_a_host_folder_is_shown_as_it_is(pod, tmp_path):
    (tmp_path / "host").mkdir()
    place = await pod.prepare(container(tmp_path / "host"))
    assert (pod.share / place) == pod.shown() / "rootfs"
    (pod.shown() / "rootfs/made").touch()
    assert (tmp_path / "host/made").exists()
    share.release("app", share=pod.share)
    assert tree(pod.share) == set()
    assert tree(tmp_path / "host") == {"made"}


@pytest.mark.root
async def test_containers_do_not_share_what_they_write_into_a_built_in_one(pod):
    for container_id in ("app", "side"):
        await pod.prepare(container(container_id=container_id))
    (pod.shown() / "rootfs/made").touch()
    assert tree(pod.shown("side") / "rootfs") == {"bin", "bin/sh", "passwd"}
    assert tree(pod.templates["busybox"]) == {"bin", "bin/sh", "passwd"}


@pytest.mark.root
async def test_a_private_copy_outlives_release_and_is_gone_after_forget(pod, tmp_path):
    await pod.prepare(container())
    (pod.shown() / "rootfs/made").touch()
    share.release("app", share=pod.share)
    assert tree(pod.share) == set()
    await pod.prepare(container())
    assert (pod.shown() / "rootfs/made").exists()
    for _ in range(2):
        pod.forget()
    assert tree(pod.share) == set()
    assert not pod.copies.exists()
    assert mounts.mounts_below(tmp_path) == ()


@pytest.mark.root
async def test_preparing_again_does_not_pile_up_mounts(pod):
    for _ in range(3):
        await pod.prepare(container())
    assert len(mounts.mounts_below(pod.share)) == 1


@pytest.mark.root
async def test_a_copy_that_was_killed_half_way_is_made_anew(pod):
    half = pod.copies / "app/.rootfs.1234"
    half.mkdir(parents=True)
    await pod.prepare(container())
    assert not half.exists()
    assert tree(pod.shown() / "rootfs") == {"bin", "bin/sh", "passwd"}


@pytest.mark.root
async def test_forgetting_one_container_keeps_the_others(pod):
    for container_id in ("app", "side"):
        await pod.prepare(container(container_id=container_id))
    pod.forget("app")
    assert (pod.shown("side") / "rootfs/bin/sh").exists()


@pytest.mark.root
async def test_a_link_that_the_guest_planted_is_not_followed(pod, tmp_path):
    outside = tmp_path / "outside"
    (outside / "rootfs").mkdir(parents=True)
    (outside / "precious").touch()
    for name in ("app", "app@", "app@1234"):
        (pod.share / name).symlink_to(outside)
    await pod.prepare(container())
    assert (outside / "precious").exists()
    assert mounts.mounts_below(outside) == ()
    assert not (pod.share / "app@1234").is_symlink()


@pytest.mark.root
async def test_each_start_of_a_container_has_a_place_of_its_own(pod, tmp_path):
    """A guest on virtio-fs remembers for a second what a name stood for."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    before = await pod.prepare(container(tmp_path / "old"))
    after = await pod.prepare(container(tmp_path / "new"))
    assert before != after
    assert tree(pod.share / after) == {"new"}
    assert not (pod.share / before).parent.exists()


@pytest.mark.root
async def test_a_share_that_propagates_shows_its_mounts_in_other_namespaces(pod, tmp_path):
    """As those that a virtiofsd makes for itself; and takes them away again."""
    for _ in range(2):
        share.make_share(pod.share, pod.copies, propagates=True)
    assert mounts.mounts_below(tmp_path) == (str(pod.share),)
    (tmp_path / "host").mkdir()
    (tmp_path / "host/file").touch()
    look = f"echo; read _; ls {pod.share}/*/rootfs; echo; read _; ls {pod.share}"
    script = f"mount --make-rslave /; {look}"
    other = await asyncio.create_subprocess_exec(
        *("unshare", "--mount", "--propagation", "unchanged", "sh", "-c", script),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert other.stdin is not None
    assert other.stdout is not None
    await other.stdout.readline()
    await pod.prepare(container(tmp_path / "host"))
    other.stdin.write(b"go\n")
    assert await other.stdout.readline() == b"file\n"
    await other.stdout.readline()
    share.release("app", share=pod.share)
    assert await other.communicate(b"go\n") == (b"", None)


@pytest.mark.root
async def test_a_link_planted_among_the_mounts_is_an_error(pod, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "outside/0").mkdir(parents=True)
    config = container("busybox", Mount(destination="/data", source=str(tmp_path / "data")))
    await pod.prepare(config)
    (pod.shown() / "mounts").symlink_to(tmp_path / "outside")
    with pytest.raises(HostProblem, match="container 'app'"):
        bind_mounts.prepare_mounts(config, share=pod.share, place=pod.places["app"])
    assert mounts.mounts_below(tmp_path) == ()


@pytest.mark.root
async def test_folders_and_files_are_bind_mounted(pod, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "hosts").write_text("localhost")
    config = container(
        "busybox",
        Mount(destination="/data", source=str(tmp_path / "data")),
        Mount(destination="/tmp", type="tmpfs"),
        Mount(destination="/etc/hosts", source=str(tmp_path / "hosts"), read_only=True),
        Mount(destination="/ro", source=str(tmp_path / "data"), options=("ro",)),
    )
    await pod.prepare(config)
    place = pod.places["app"]
    shared = bind_mounts.prepare_mounts(config, share=pod.share, place=place)
    assert [each.shared for each in shared] == [f"{place}/mounts/{number}" for number in (0, 2, 3)]
    assert [each.mount for each in shared] == [config.mounts[0], *config.mounts[2:]]
    (pod.shown() / "mounts/0/made").touch()
    assert (tmp_path / "data/made").exists()
    for fixed in ("mounts/2", "mounts/3/made"):
        with pytest.raises(OSError, match="Read-only"):
            (pod.shown() / fixed).write_text("changed")
    pod.forget()
    assert tree(pod.share) == set()
    assert (tmp_path / "hosts").read_text() == "localhost"


def test_without_root_the_copies_lie_in_the_share(user_pod):
    assert user_pod.share.is_symlink()
    share.make_share(user_pod.share, user_pod.copies)
    assert user_pod.share.resolve() == user_pod.copies


async def test_without_root_a_copy_outlives_a_stop_too(user_pod):
    assert await user_pod.prepare(container()) == "app/rootfs"
    (user_pod.share / "app/rootfs/made").touch()
    share.release("app", share=user_pod.share)
    user_pod.share.unlink()  # as when the pod's run folder goes
    share.make_share(user_pod.share, user_pod.copies)
    await user_pod.prepare(container())
    assert (user_pod.share / "app/rootfs/made").exists()
    user_pod.forget()
    assert not user_pod.copies.exists()


async def test_without_root_host_folders_need_a_remedy(user_pod, tmp_path):
    with pytest.raises(PermissionProblem, match=r"container 'app' needs root.*busybox"):
        await user_pod.prepare(container(tmp_path))
    config = container("busybox", Mount(destination="/data", source=str(tmp_path)))
    with pytest.raises(PermissionProblem, match="needs root"):
        bind_mounts.check_mounts(config)


async def test_what_cannot_be_a_root_file_system_is_named(pod, tmp_path):
    (tmp_path / "file").touch()
    for source, words in (
        (tmp_path / "missing", "does not exist"),
        ("alpine", "does not exist.*busybox"),
        (tmp_path / "file", "is no folder"),
    ):
        with pytest.raises(FileProblem, match=f"container 'app' {words}"):
            await pod.prepare(container(source))
    pod.templates["busybox"] = tmp_path / "not-built"
    with pytest.raises(GuestNotBuilt, match="guest build"):
        await pod.prepare(container())
    assert tree(pod.share) == set()


@pytest.mark.root
def test_mounts_that_cannot_be_are_named(tmp_path):
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(tmp_path / "socket"))
    for mount, kind, words in (
        (
            Mount(destination="/x", type="nfs"),
            InvalidConfig,
            r"mounts\[0\].*'nfs'.*bind, volume, tmpfs",
        ),
        (Mount(destination="x", source="/etc"), InvalidConfig, "absolute path"),
        (Mount(destination="/a/../b", source="/etc"), InvalidConfig, "without"),
        (Mount(destination="/x", source=str(tmp_path / "no")), FileProblem, "No such file"),
        (Mount(destination="/x", source="etc"), FileProblem, "absolute path"),
        (Mount(destination="/x", source=str(tmp_path / "socket")), FileProblem, "regular file"),
    ):
        with pytest.raises(kind, match=words):
            bind_mounts.check_mounts(container("busybox", mount))


@pytest.fixture
def image(tmp_path):
    """An unpacked image; whatever a test does, nobody writes to it."""
    root = tmp_path / "image"
    (root / "etc").mkdir(parents=True)
    (root / "etc/conf").write_text("image")
    root.chmod(0o751)
    yield root
    assert tree(root) == {"etc", "etc/conf"}
    assert (root / "etc/conf").read_text() == "image"


def of_image(container_id: str = "app") -> ContainerConfig:
    return ContainerConfig(id=container_id, image="shop:1")


async def prepare_image(pod, image: Path, container_id: str = "app") -> Path:
    return pod.share / await pod.prepare(of_image(container_id), image)


async def changes_are_the_containers_own(pod, image: Path) -> None:
    one, other = await prepare_image(pod, image), await prepare_image(pod, image, "other")
    (one / "etc/conf").write_text("changed")
    (one / "new").touch()
    assert (other / "etc/conf").read_text() == "image"
    (other / "etc/conf").unlink()
    share.release("app", share=pod.share)
    again = await prepare_image(pod, image)
    assert (again / "etc/conf").read_text() == "changed"
    assert tree(again) == {"etc", "etc/conf", "new"}
    pod.forget("app")
    pod.forget("other")
    assert not pod.copies.exists()


@pytest.mark.root
async def test_containers_of_an_image_change_what_is_their_own_by_overlayfs(pod, image):
    place = await prepare_image(pod, image)
    assert oct(place.stat().st_mode)[-3:] == "751"
    assert not (pod.copies / "app/rootfs").exists()
    assert (pod.copies / "app/upper").is_dir()
    assert tree(pod.share.parent) >= {"share"}
    assert not list(pod.share.parent.glob("overlay-*"))
    await changes_are_the_containers_own(pod, image)


async def test_containers_of_an_image_get_copies_where_nothing_can_be_mounted(user_pod, image):
    await prepare_image(user_pod, image)
    assert (user_pod.copies / "app/rootfs").is_dir()
    await changes_are_the_containers_own(user_pod, image)


@pytest.mark.root
async def test_containers_of_an_image_get_copies_where_there_is_no_overlayfs(
    pod, image, monkeypatch
):
    def refuse(*_words: object) -> None:
        raise OSError(19, "No such device", "overlay")

    monkeypatch.setattr(mounts, "mount", refuse)
    await prepare_image(pod, image)
    assert {path.name for path in (pod.copies / "app").iterdir()} == {"rootfs"}
    await changes_are_the_containers_own(pod, image)


@pytest.mark.root
async def test_changes_are_never_hidden_by_a_fresh_copy(pod, image, monkeypatch):
    (await prepare_image(pod, image) / "new").touch()

    def refuse(*_words: object) -> None:
        raise OSError(19, "No such device", "overlay")

    with monkeypatch.context() as patch:
        patch.setattr(mounts, "mount", refuse)
        with pytest.raises(HostProblem, match="No such device"):
            await prepare_image(pod, image)
    assert "new" in tree(await prepare_image(pod, image))


async def test_an_image_whose_files_are_gone_is_said(user_pod, tmp_path):
    with pytest.raises(FileProblem, match="import it again"):
        await prepare_image(user_pod, tmp_path / "gone")


def with_empty_dir(container_id: str) -> ContainerConfig:
    mount = Mount(type="empty-dir", source="cache", destination="/cache")
    return container("busybox", mount, container_id=container_id)


async def shares_an_empty_folder(pod) -> None:
    shown = []
    for name in ("one", "two"):
        config = with_empty_dir(name)
        await pod.prepare(config)
        (mount,) = scratch.prepare_empty_dirs(
            config, share=pod.share, place=pod.places[name], copies=pod.copies
        )
        shown.append(pod.share / mount.shared)
    (shown[0] / "file").touch()
    assert tree(shown[1]) == {"file"}
    assert oct(shown[0].stat().st_mode)[-3:] == "777"
    pod.forget("one")
    assert tree(shown[1]) == {"file"}
    pod.forget("two")


@pytest.mark.root
async def test_containers_share_an_empty_folder(pod):
    await shares_an_empty_folder(pod)


async def test_containers_share_an_empty_folder_where_nothing_can_be_mounted(user_pod):
    await shares_an_empty_folder(user_pod)
