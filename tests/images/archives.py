"""Makes image archives: layers from entries, docker-archive, oci-archive, OCI layout."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard

Entry = tuple[str, dict[str, Any]]


def file(name: str, text: bytes | str = b"", **more: Any) -> Entry:
    data = text.encode() if isinstance(text, str) else text
    return name, {"data": data, **more}


def folder(name: str, **more: Any) -> Entry:
    return name, {"type": tarfile.DIRTYPE, "mode": 0o755, **more}


def symlink(name: str, target: str) -> Entry:
    return name, {"type": tarfile.SYMTYPE, "linkname": target}


def hardlink(name: str, target: str) -> Entry:
    return name, {"type": tarfile.LNKTYPE, "linkname": target}


def device(name: str, kind: bytes = tarfile.CHRTYPE) -> Entry:
    return name, {"type": kind, "devmajor": 1, "devminor": 3}


def layer(*entries: Entry) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, attributes in entries:
            member = tarfile.TarInfo(name)
            more = dict(attributes)
            data = more.pop("data", None)
            member.mode = 0o644
            for key, value in more.items():
                setattr(member, key, value)
            if data is not None:
                member.size = len(data)
            tar.addfile(member, None if data is None else io.BytesIO(data))
    return buffer.getvalue()


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


COMPRESS = {
    "": lambda data: data,
    "gzip": lambda data: gzip.compress(data, 1),
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
}


@dataclass
class Image:
    layers: tuple[bytes, ...]
    process: dict[str, Any] = field(default_factory=dict)
    compression: str = ""
    platform: tuple[str, str] = ("linux", "amd64")

    @property
    def config(self) -> bytes:
        document = {
            "os": self.platform[0],
            "architecture": self.platform[1],
            "config": self.process,
            "rootfs": {"type": "layers", "diff_ids": [sha256(one) for one in self.layers]},
        }
        return json.dumps(document).encode()

    def blobs(self) -> tuple[dict[str, bytes], dict[str, Any]]:
        """The blobs of an OCI layout by path, and the descriptor of the manifest."""
        blobs: dict[str, bytes] = {}

        def blob(data: bytes, kind: str) -> dict[str, Any]:
            digest = sha256(data)
            blobs[f"blobs/sha256/{digest[7:]}"] = data
            return {"digest": digest, "size": len(data), "mediaType": kind}

        packed = [COMPRESS[self.compression](one) for one in self.layers]
        manifest = {
            "schemaVersion": 2,
            "config": blob(self.config, "application/vnd.oci.image.config.v1+json"),
            "layers": [blob(one, "application/vnd.oci.image.layer.v1.tar") for one in packed],
        }
        descriptor = blob(
            json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json"
        )
        os, architecture = self.platform
        descriptor["platform"] = {"os": os, "architecture": architecture}
        return blobs, descriptor


def oci_files(images: Iterable[tuple[Image, str]]) -> dict[str, bytes]:
    files: dict[str, bytes] = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}
    manifests = []
    for image, name in images:
        blobs, descriptor = image.blobs()
        files.update(blobs)
        if name:
            descriptor["annotations"] = {"org.opencontainers.image.ref.name": name}
        manifests.append(descriptor)
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": manifests}).encode()
    return files


def docker_files(image: Image, *names: str) -> dict[str, bytes]:
    config = f"{sha256(image.config)[7:]}.json"
    files = {config: image.config}
    paths = []
    for number, one in enumerate(image.layers):
        paths.append(f"layer{number}/layer.tar")
        files[paths[-1]] = COMPRESS[image.compression](one)
    manifest = [{"Config": config, "RepoTags": list(names) or None, "Layers": paths}]
    return {**files, "manifest.json": json.dumps(manifest).encode()}


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    path.write_bytes(layer(*(file(name, data) for name, data in files.items())))
    return path


def write_folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path
