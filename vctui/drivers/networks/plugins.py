"""Run one CNI plugin: a program of somebody else that may fail, hang or print rubbish."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from vctui import settings
from vctui.errors import MissingProgram, NetworkError
from vctui.linux import process
from vctui.wire.cni.result import BadAnswer, parse_error, parse_versions
from vctui.wire.cni.words import MAX_DOCUMENT, VERSIONS, clean

INSTALL: Final = "apt-get install containernetworking-plugins"
_SYSTEM_FOLDERS: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_REMEDIES: Final = {
    1: "set a cniVersion that the plugin knows",
    2: "take the key out of the network's file",
    6: "correct the network's file",
    7: "correct the network's file",
    11: "try again in a moment",
}
"""By error code of the specification."""


@dataclass(frozen=True, slots=True)
class Plugins:
    """The plugins of this host."""

    folders: Sequence[Path]
    """Where they are looked for, first match wins."""
    timeout: float
    """Seconds for one call."""

    @classmethod
    def of(cls, settings: settings.Network) -> Self:
        """Those that config.toml names."""
        return cls(tuple(Path(folder) for folder in settings.plugin_dirs), settings.plugin_timeout)

    @property
    def path(self) -> str:
        """CNI_PATH: where plugins find the plugins that they call."""
        return os.pathsep.join(str(folder) for folder in self.folders)

    def find(self, kind: str, *, network: str) -> Path:
        """The program of the plugin `kind`.

        Raises:
            MissingProgram: naming `network`, which needs it.
        """
        for folder in self.folders:
            if os.access(program := folder / kind, os.X_OK) and program.is_file():
                return program
        places = ", ".join(str(folder) for folder in self.folders)
        raise MissingProgram(
            f"network {network!r} needs the CNI plugin {kind!r}, which is not in {places}; "
            f"run `{INSTALL}`, or name its folder in config.toml under network.plugin_dirs"
        )

    async def call(
        self, kind: str, variables: Mapping[str, str], stdin: bytes, *, network: str
    ) -> bytes:
        """Run the plugin `kind` to its end; what it printed.

        It is killed with its children when it takes too long or we are cancelled.

        Raises:
            MissingProgram: there is no such plugin.
            NetworkError: it could not be run, failed, took too long or printed too much.
        """
        program = self.find(kind, network=network)
        command = variables["CNI_COMMAND"]
        what = f"the CNI plugin {kind} ({command}) of network {network!r}"
        inherited = {name: text for name, text in os.environ.items() if name[:4] != "CNI_"}
        inherited["PATH"] = f"{inherited.get('PATH', '')}:{_SYSTEM_FOLDERS}".lstrip(":")
        try:
            done = await process.run(
                (program,),
                stdin=stdin,
                timeout=self.timeout,
                env={**inherited, **variables},
                cwd="/",
                keep=MAX_DOCUMENT + 1,
            )
        except TimeoutError as error:
            raise NetworkError(
                f"{what} was killed, as it took more than {self.timeout:g} s; look why it hangs, "
                "or raise network.plugin_timeout in config.toml"
            ) from error
        except OSError as error:
            raise NetworkError(
                f"{what} cannot be run: {program}: {error.strerror or error}; install it again"
            ) from error
        if done.returncode:
            raise NetworkError(f"{what} {_why(done)}")
        if len(done.stdout) > MAX_DOCUMENT:
            raise NetworkError(f"{what} printed more than {MAX_DOCUMENT} bytes; {_mend(kind)}")
        return done.stdout

    async def versions(self, kind: str, *, network: str) -> tuple[str, ...]:
        """Versions of the specification that the plugin knows.

        Raises:
            MissingProgram, NetworkError
        """
        stdin = f'{{"cniVersion": "{VERSIONS[-1]}"}}'.encode()
        said = await self.call(kind, {"CNI_COMMAND": "VERSION"}, stdin, network=network)
        try:
            return parse_versions(said)
        except BadAnswer as error:
            raise rubbish(kind, "VERSION", network, error) from error


def rubbish(kind: str, command: str, network: str, error: BadAnswer) -> NetworkError:
    """For a plugin that says it is done and prints what cannot be."""
    return NetworkError(
        f"the CNI plugin {kind} ({command}) of network {network!r} printed {error}; {_mend(kind)}"
    )


def _why(done: process.Completed) -> str:
    """How a plugin failed, in its own words where it has any."""
    if done.returncode < 0:
        return f"was ended by signal {-done.returncode}; {_said(done.stderr)}"
    error = parse_error(done.stdout)
    if error is None:
        return f"failed with status {done.returncode}; {_said(done.stderr or done.stdout)}"
    remedy = _REMEDIES.get(error.code, "look at the network's file and the host's log")
    return f"failed: {str(error).rstrip('.')} (code {error.code}); {remedy}"


def _said(output: bytes) -> str:
    text = clean(output[-1000:].decode(errors="replace"))
    return f"its last words: {text}" if text else "it said nothing"


def _mend(kind: str) -> str:
    return f"install another {kind}"
