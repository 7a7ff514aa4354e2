"""Documents of images: whatever they hold, an error of ours or something sane comes out."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vctui.errors import FileProblem, InvalidConfig
from vctui.model.image import image_name
from vctui.wire import imagespec

_KEYS = st.sampled_from(
    ["manifests", "digest", "mediaType", "size", "platform", "os", "config", "layers", "rootfs",
     "diff_ids", "Config", "Layers", "RepoTags", "Entrypoint", "Cmd", "Env", "WorkingDir", "User"]
)  # fmt: skip
_LEAVES = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just(f"sha256:{0:064}")
)
_DOCUMENTS = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(_DOCUMENTS)
def test_any_document_is_read_or_refused(document: object) -> None:
    raw = json.dumps(document).encode()
    with contextlib.suppress(FileProblem):
        imagespec.choose(imagespec.parse_index(raw))
    with contextlib.suppress(FileProblem):
        imagespec.parse_manifest(raw)
    with contextlib.suppress(FileProblem):
        imagespec.parse_docker_manifest(raw)
    with contextlib.suppress(FileProblem):
        imagespec.parse_config(raw, layers=1)


@given(st.binary(max_size=64))
def test_bytes_that_are_no_document_are_refused(raw: bytes) -> None:
    with contextlib.suppress(FileProblem):
        imagespec.parse_config(raw, layers=0)


@given(st.text(max_size=80))
def test_a_blob_lies_among_the_blobs(digest: str) -> None:
    with contextlib.suppress(FileProblem):
        path = imagespec.Descriptor(digest=digest).path
        assert path.startswith("blobs/sha256/")
        assert ".." not in path


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("busybox", "busybox:latest"),
        ("docker.io/library/busybox:1.36", "busybox:1.36"),
        ("docker.io/some/app", "some/app:latest"),
        ("localhost:5000/a/b_c:Tag.1", "localhost:5000/a/b_c:Tag.1"),
    ],
)
def test_names_are_kept_without_what_everybody_leaves_out(text: str, name: str) -> None:
    assert image_name(text) == name
    assert image_name(name) == name


@pytest.mark.parametrize(
    "text", ["", "Upper", "a b", "a:", ":tag", "../a", "a//b", "a@sha256:0", "-a"]
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidConfig, match="no image name"):
        image_name(text)


def test_a_stop_signal_that_is_none_is_refused() -> None:
    raw = b'{"rootfs": {"diff_ids": []}, "config": {"StopSignal": "SIGNONE"}}'
    with pytest.raises(FileProblem, match="stop signal 'SIGNONE' is no signal"):
        imagespec.parse_config(raw, layers=0)
