"""Find, read and validate config.toml into frozen Settings.

Precedence: command-line option, environment (`VCTUI_RUN_DIR`, `VCTUI_STATE_DIR`,
`VCTUI_CACHE_DIR`), the first of the files of `config_files()` that exists, built-in default.
The shipped config.toml lists every key with its default; a test keeps the two equal.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import platformdirs
import tomli

from vctui.errors import FileProblem
from vctui.model.documents import convert
from vctui.model.kinds import (
    Accelerator,
    AgentType,
    HypervisorType,
    MachineType,
    NetworkModel,
    SharedFs,
)


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Paths(_Section, frozen=True, kw_only=True):
    """Empty means: the system's folder for root, the user's own folder otherwise."""

    run_dir: str = ""
    state_dir: str = ""
    cache_dir: str = ""
    pods_dir: str = ""
    themes_dir: str = ""


class PodDefaults(_Section, frozen=True, kw_only=True):
    hypervisor_type: HypervisorType = HypervisorType.QEMU
    agent_type: AgentType = AgentType.KATA
    network_model: NetworkModel = NetworkModel.NOOP
    vcpus: int = 1
    memory: int = 256


class Qemu(_Section, frozen=True, kw_only=True):
    path: str = "qemu-system-x86_64"
    machine_type: MachineType = MachineType.Q35
    accelerator: Accelerator = Accelerator.AUTO
    shared_fs: SharedFs = SharedFs.NINE_P
    virtiofsd: str = ""
    """The program that serves virtio-fs; "": where Debian's packages have it."""


class Network(_Section, frozen=True, kw_only=True):
    """Networks of pods whose `network_model` is CNI."""

    config_dir: str = "/etc/cni/net.d"
    plugin_dirs: tuple[str, ...] = ("/opt/cni/bin", "/usr/lib/cni")
    plugin_timeout: float = 60.0
    """Seconds for one call of a plugin."""
    default: str = ""
    """The network of pods that name none; "" is the first of `config_dir`."""


class Timeouts(_Section, frozen=True, kw_only=True):
    """Seconds."""

    start: float = 60.0
    stop: float = 10.0
    agent: float = 60.0
    monitor: float = 15.0


class Logs(_Section, frozen=True, kw_only=True):
    max_bytes: int = 16 * 1024 * 1024
    """Of one log file before it is rotated; one rotated file is kept."""
    replay_bytes: int = 64 * 1024


class Template(_Section, frozen=True, kw_only=True):
    """Saved guests that pods begin as instead of booting."""

    enabled: bool = True
    memory_dir: str = ""
    """A tmpfs; empty: /dev/shm."""
    max_memory: Annotated[int, msgspec.Meta(ge=0)] = 1024
    """MiB of all templates together."""
    keep_hours: Annotated[float, msgspec.Meta(ge=0)] = 48.0
    """How long one is kept that no pod begins as."""
    pool: Annotated[int, msgspec.Meta(ge=0, le=64)] = 0
    """Guests of the usual size that have begun as their template before a pod wants one."""


class Images(_Section, frozen=True, kw_only=True):
    max_bytes: int = 32 * 1024**3
    """What one image may unpack to."""


class Console(_Section, frozen=True, kw_only=True):
    theme: str = "vctui-dark"
    read_only: bool = False
    detach_keys: str = "ctrl-p,ctrl-q"
    animations: bool = False


class Settings(_Section, frozen=True, kw_only=True):
    paths: Paths = Paths()
    pod: PodDefaults = PodDefaults()
    qemu: Qemu = Qemu()
    network: Network = Network()
    timeouts: Timeouts = Timeouts()
    logs: Logs = Logs()
    images: Images = Images()
    template: Template = Template()
    console: Console = Console()
    keys: dict[str, str] = msgspec.field(default_factory=dict)
    """Action id → keys, comma-separated; "" unbinds."""

    @property
    def run_dir(self) -> Path:
        """Sockets, mounts, logs: gone after a reboot."""
        return Path(self.paths.run_dir)

    @property
    def state_dir(self) -> Path:
        return Path(self.paths.state_dir)

    @property
    def cache_dir(self) -> Path:
        return Path(self.paths.cache_dir)

    @property
    def pods_dir(self) -> Path:
        return Path(self.paths.pods_dir)

    @property
    def themes_dir(self) -> Path:
        return Path(self.paths.themes_dir)


def _default_paths() -> dict[str, str]:
    if os.geteuid() == 0:
        config = Path("/etc/vctui")
        roots = ("/run/vctui", "/var/lib/vctui", "/var/lib/vctui/cache")
    else:
        dirs = platformdirs.PlatformDirs("vctui")
        config = Path(dirs.user_config_dir)
        session = os.environ.get("XDG_RUNTIME_DIR", "")
        # Without a session there is no private folder but in the home: never one in /tmp.
        run = f"{session}/vctui" if session else f"{dirs.user_state_dir}/run"
        roots = (run, dirs.user_state_dir, dirs.user_cache_dir)
    return {
        "run_dir": roots[0],
        "state_dir": roots[1],
        "cache_dir": roots[2],
        "pods_dir": str(config / "pods"),
        "themes_dir": str(config / "themes"),
    }


def config_files() -> list[Path]:
    """Where config.toml is looked for, first match wins."""
    if named := os.environ.get("VCTUI_CONFIG"):
        return [Path(named)]
    user = Path(platformdirs.user_config_dir("vctui")) / "config.toml"
    return [user, Path("/etc/vctui/config.toml")]


def load(config: Path | None = None, overrides: Mapping[str, str] | None = None) -> Settings:
    """Settings from `config` (or the first file found) and `overrides` of `[paths]` keys.

    Raises:
        FileProblem: the named file is missing or is no TOML.
        InvalidConfig: a key is unknown or its value does not fit, with the key's path.
    """
    named = config or (Path(os.environ["VCTUI_CONFIG"]) if "VCTUI_CONFIG" in os.environ else None)
    file = named or next((path for path in config_files() if path.is_file()), None)
    data: dict[str, Any] = {}
    if file is not None:
        try:
            data = tomli.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise FileProblem(
                f"cannot read the configuration {file}: {error.strerror}; "
                "name another with --config"
            ) from error
        except (tomli.TOMLDecodeError, UnicodeDecodeError) as error:
            raise FileProblem(f"{file} is not valid TOML: {error}; correct it") from error
    settings = convert(data, Settings, source=str(file))
    chosen = {
        name: value for name, value in msgspec.structs.asdict(settings.paths).items() if value
    }
    for name in ("run_dir", "state_dir", "cache_dir"):
        if value := os.environ.get(f"VCTUI_{name.upper()}"):
            chosen[name] = value
    chosen.update({name: value for name, value in (overrides or {}).items() if value})
    absolute = {name: _absolute(value) for name, value in chosen.items()}
    kept = settings.template
    if kept.memory_dir:
        kept = msgspec.structs.replace(kept, memory_dir=_absolute(kept.memory_dir))
    paths = Paths(**{**_default_paths(), **absolute})
    return msgspec.structs.replace(settings, paths=paths, template=kept)


def _absolute(folder: str) -> str:
    return str(Path(folder).expanduser().absolute())
