"""Volumes: their string form, and which a pod may have (behaviour sheet §3.5)."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.errors import InvalidConfig, InvalidInput
from vctui.model.checks import check_pod
from vctui.model.container import Cmd, ContainerConfig, Mount
from vctui.model.pod import PodConfig
from vctui.model.volume import MAX_VOLUMES, Volume, format_volumes, parse_volumes

PART = st.text(min_size=1).filter(lambda text: not set(text) & {" ", ":"})


@given(st.lists(st.builds(Volume, mount_tag=PART, host_path=PART), min_size=1))
def test_what_is_printed_is_read_again(volumes: list[Volume]) -> None:
    assert parse_volumes(format_volumes(volumes)) == tuple(volumes)


@given(st.text())
def test_any_other_text_is_refused(text: str) -> None:
    with contextlib.suppress(InvalidInput):
        assert format_volumes(parse_volumes(text)) == text


@pytest.mark.parametrize("text", ["", "tag", "tag:", ":/p", "a:/p:x", "a:/p  b:/q", " a:/p"])
def test_an_item_is_exactly_a_tag_and_a_path(text: str) -> None:
    with pytest.raises(InvalidConfig, match="is not a volume; write TAG:PATH"):
        parse_volumes(text)


def pod(*tags: str, path: str = "/srv", mounted: str = "") -> PodConfig:
    mounts = (Mount(type="volume", source=mounted, destination="/v"),) if mounted else ()
    one = ContainerConfig(id="main", rootfs="busybox", cmd=Cmd(args=("sh",)), mounts=mounts)
    volumes = tuple(Volume(mount_tag=tag, host_path=path) for tag in tags)
    return PodConfig(id="web", containers=(one,), volumes=volumes)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (pod("a/b"), r"volumes\[0\]\.mount_tag 'a/b' cannot be used"),
        (pod("x" * 32), r"volumes\[0\]\.mount_tag 'x+' cannot be used"),
        (pod("kataShared"), "'kataShared' cannot be used"),
        (pod("one", "two", "one"), r"volumes\[2\]\.mount_tag 'one' is taken by volumes\[0\]"),
        (pod("one", path="srv"), r"volumes\[0\]\.host_path 'srv' is not absolute"),
        (pod(*(f"v{n}" for n in range(MAX_VOLUMES + 1))), "has 17 items but a machine takes 16"),
        (
            pod("one", "two", mounted="site"),
            r"containers\[0\]\.mounts\[0\]\.source 'site' is no volume of pod 'web'; it has one",
        ),
        (pod(mounted="site"), "is no volume of pod 'web'; it has none"),
    ],
)
def test_volumes_that_cannot_be_are_refused(config: PodConfig, says: str) -> None:
    with pytest.raises(InvalidConfig, match=says):
        check_pod(config)


def test_a_container_mounts_any_volume_of_its_pod() -> None:
    config = pod("one", "site", mounted="site")
    assert check_pod(config) == config
    assert msgspec.structs.asdict(config.volumes[0]) == {"mount_tag": "one", "host_path": "/srv"}
