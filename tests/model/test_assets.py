"""Annotations that name the files of a machine."""

from __future__ import annotations

import pytest

from vctui.errors import InvalidConfig
from vctui.model.assets import HASH_TYPE_KEY, PREFIX, Asset, applied, from_annotations
from vctui.model.checks import check_pod
from vctui.model.hypervisor import HypervisorConfig
from vctui.model.pod import PodConfig

DIGEST = "0123456789abcdef" * 8


def annotations(**values: str) -> dict[str, str]:
    return {f"{PREFIX}{name}": value for name, value in values.items()}


@pytest.mark.parametrize("name", ["Kernel", "Image", "Initrd", "Hypervisor", "Firmware"])
def test_each_asset_replaces_its_field(name: str) -> None:
    given = annotations(**{f"{name}Path": "/a/file", f"{name}Hash": DIGEST.upper()})
    field = f"{name.lower()}_path"
    assert from_annotations(given) == (Asset(field, "/a/file", f"{PREFIX}{name}Hash", DIGEST),)
    config = HypervisorConfig(**{field: "/configured"}, debug=True)
    settled = applied(config, from_annotations(given))
    assert (getattr(settled, field), settled.debug) == ("/a/file", True)


def test_without_a_path_there_is_no_asset() -> None:
    assert from_annotations({}) == ()
    assert from_annotations(annotations(KernelPath="", KernelHash="")) == ()
    assert from_annotations({"KernelPath": "/other/prefix"}) == ()


def test_without_a_hash_a_file_is_taken_as_it_is() -> None:
    assert from_annotations(annotations(KernelPath="/k"))[0].sha512 == ""


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (annotations(KernelPath="vmlinux"), r"KernelPath is 'vmlinux'.*absolute"),
        (annotations(KernelHash=DIGEST), r"KernelHash has nothing.*add .*KernelPath"),
        (annotations(KernelPath="/k", KernelHash="12"), r"KernelHash is no SHA-512"),
        (annotations(KernelPath="/k", KernelHash="g" * 128), r"KernelHash is no SHA-512"),
        (
            annotations(KernelPath="/k", KernelHash=DIGEST, AssetHashType="md5"),
            r"AssetHashType is 'md5'; use sha512",
        ),
        (annotations(ImagePath="/i", InitrdPath="/j"), "leave one of them out"),
    ],
)
def test_an_annotation_that_cannot_be_is_named(given: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidConfig, match=words):
        check_pod(PodConfig(id="web", annotations=given))


def test_the_type_of_the_hash_may_be_said() -> None:
    given = annotations(KernelPath="/k", KernelHash=DIGEST) | {HASH_TYPE_KEY: "sha512"}
    assert from_annotations(given)[0].sha512 == DIGEST
