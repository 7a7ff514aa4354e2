"""Files that annotations ask for, compared with their hashes at each start of a pod."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import msgspec

from vctui.errors import FileProblem
from vctui.model.assets import Asset, applied, from_annotations
from vctui.model.checks import check_pod
from vctui.model.pod import PodConfig


async def settle(config: PodConfig) -> PodConfig:
    """`config` as its machine is made of it: with the assets of its annotations.

    Nothing of it is kept: who changes an annotation or a file sees that at the next start.

    Raises:
        InvalidConfig: an annotation cannot be.
        FileProblem: a file is empty, is not there, or is not the one that was meant.
    """
    assets = from_annotations(config.annotations)
    if not assets:
        return config
    for asset in assets:
        if asset.sha512:
            await asyncio.to_thread(_compare, config.id, asset)
    hypervisor = applied(config.hypervisor_config, assets)
    return check_pod(msgspec.structs.replace(config, hypervisor_config=hypervisor))


def _compare(pod_id: str, asset: Asset) -> None:
    whose = f"{asset.path} (annotations.{asset.hash_key} of pod {pod_id!r})"
    if Path(asset.path).exists() and not Path(asset.path).is_file():
        raise FileProblem(f"{whose} is not a file; correct the path")
    try:
        with Path(asset.path).open("rb") as file:
            found = hashlib.file_digest(file, "sha512").hexdigest()
            empty = file.tell() == 0
    except OSError as error:
        raise FileProblem(f"cannot read {whose}: {error.strerror}; correct the path") from error
    if empty:
        raise FileProblem(f"{whose} is empty; name a file with content")
    if found != asset.sha512:
        raise FileProblem(
            f"{whose} has another SHA-512, {found[:16]}…; look who changed the file, "
            "or correct the annotation"
        )
