"""Assets of annotations are compared with their hashes at each start."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.engine.conftest import pod
from vctui.engine.runtime import Runtime
from vctui.errors import FileProblem
from vctui.model.assets import PREFIX
from vctui.model.pod import PodConfig
from vctui.model.state import State

CONTENT = b"FakeAsset fake asset FAKE ASSET"


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    path = tmp_path / "vmlinux"
    path.write_bytes(CONTENT)
    return path


def put(path: Path, content: bytes | None) -> None:
    path.unlink()
    if content is not None:
        path.write_bytes(content)


def with_kernel(path: Path, content: bytes = CONTENT) -> PodConfig:
    digest = hashlib.sha512(content).hexdigest()
    annotations = {f"{PREFIX}KernelPath": str(path), f"{PREFIX}KernelHash": digest}
    return replace(pod(), annotations=annotations)


async def test_the_machine_is_made_of_what_the_annotations_name(runtime: Runtime, kernel: Path):
    config = with_kernel(kernel)
    assert config.annotations[f"{PREFIX}KernelHash"].startswith("92549f8d")
    started = await runtime.run_pod(config)
    assert started.machine is not None
    assert started.machine.kernel == str(kernel)
    assert started.hypervisor_config.kernel_path == ""


async def test_a_file_that_was_changed_meanwhile_is_refused_at_the_next_start(
    runtime: Runtime, kernel: Path
):
    await runtime.run_pod(with_kernel(kernel))
    await runtime.stop_pod("web")
    put(kernel, b"other")
    with pytest.raises(FileProblem, match=r"vmlinux .*KernelHash of pod 'web'.*another SHA-512"):
        await runtime.start_pod("web")
    assert (await runtime.status_pod("web")).state is State.STOPPED
    put(kernel, CONTENT)
    assert (await runtime.start_pod("web")).state is State.RUNNING


@pytest.mark.parametrize(
    ("content", "words"), [(b"other", "another SHA-512"), (b"", "is empty"), (None, "cannot read")]
)
async def test_a_wrong_file_makes_no_pod(runtime: Runtime, kernel: Path, content, words):
    put(kernel, content)
    with pytest.raises(FileProblem, match=words):
        await runtime.create_pod(with_kernel(kernel))
    assert await runtime.list_pods() == ()


async def test_a_folder_is_no_asset(runtime: Runtime, tmp_path: Path):
    with pytest.raises(FileProblem, match="is not a file"):
        await runtime.create_pod(with_kernel(tmp_path))
