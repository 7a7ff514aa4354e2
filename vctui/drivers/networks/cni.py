"""CNI: plugins fill the pod's namespace (CNI specification 0.1.0 to 1.0.0; sheet §6.2).

An attachment's `config` holds the whole network as it was when the pod joined it, so that DEL says
to the plugins what ADD has said, whatever has become of the file meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from vctui import settings
from vctui.drivers.networks import catalog
from vctui.drivers.networks.base import Network
from vctui.drivers.networks.plugins import Plugins, rubbish
from vctui.errors import InvalidConfig, MissingProgram, NetworkError, VctuiError
from vctui.linux import process
from vctui.model.network import Attachment, Dns, Endpoint, NetworkConfig
from vctui.wire.cni import capabilities
from vctui.wire.cni.network import (
    Command,
    NetworkList,
    environment,
    knows_previous_on_delete,
    request,
)
from vctui.wire.cni.result import BadAnswer, Result, parse_result

_FIRST: Final = "eth"


class _Joined(msgspec.Struct, frozen=True, kw_only=True):
    """What `Attachment.config` holds."""

    network: NetworkList
    capabilities: dict[str, Any] = {}


class CniNetwork(Network):
    def __init__(self, settings: settings.Network) -> None:
        self._settings = settings
        self._plugins = Plugins.of(settings)

    def plan(self, config: NetworkConfig, taken: Sequence[str] = ()) -> tuple[Attachment, ...]:
        """Raises NotFound, MissingProgram, FileProblem, InvalidConfig."""
        known = catalog.read(Path(self._settings.config_dir))
        used, planned = set(taken), []
        wanted = capabilities.wanted(config)
        for name in config.networks or (self._settings.default,):
            listed = known.choose(name)
            network = listed.network
            _check_capabilities(listed, wanted)
            for kind in (*network.types, *network.ipam_types):
                self._plugins.find(kind, network=network.name)
            number = next(n for n in range(len(used) + 1) if f"{_FIRST}{n}" not in used)
            interface = f"{_FIRST}{number}"
            used.add(interface)
            joined = _Joined(network=network, capabilities=wanted)
            planned.append(
                Attachment(
                    network=network.name,
                    interface=interface,
                    config=msgspec.json.encode(joined).decode(),
                    ports=config.port_mappings if wanted else (),
                )
            )
            wanted = {}  # the first network's alone
        return tuple(planned)

    async def prepare(
        self, pod_id: str, netns: Path, attachments: Sequence[Attachment]
    ) -> tuple[Attachment, ...]:
        """ADD, plugin after plugin, network after network."""
        return tuple([await self._add(pod_id, netns, one) for one in attachments])

    async def check(
        self,
        pod_id: str,
        netns: Path,
        attachments: Sequence[Attachment],
        endpoints: Sequence[Endpoint],
    ) -> None:
        """CHECK, for the networks that have it."""
        wired = {one.interface.name: one for one in endpoints}
        for one in attachments:
            network = _joined(one).network
            if one.result and network.checks:
                expected = _wired(_result(one), wired.get(one.interface))
                for index in range(len(network.plugins)):
                    await self._call(Command.CHECK, pod_id, str(netns), one, index, expected)

    async def remove(
        self, pod_id: str, netns: Path | None, attachments: Sequence[Attachment]
    ) -> None:
        """DEL, in reverse. Plugins may be told DEL any number of times, so one that fails does
        not keep us from telling the others, unlike what the specification has runtimes do:
        what they hold would stay for ever where nobody tries again.

        A plugin that an engine was waiting for when it was killed may still run. It is ended
        first: what it makes after its DEL nobody would take away."""
        if netns is not None:
            await _end_calls({"CNI_CONTAINERID": pod_id, "CNI_NETNS": str(netns)})
        failed: VctuiError | None = None
        for one in reversed(attachments):
            network = _joined(one).network
            previous = _result(one) if one.result and knows_previous_on_delete(network) else None
            for index in reversed(range(len(network.plugins))):
                place = str(netns) if netns else ""
                try:
                    await self._call(Command.DEL, pod_id, place, one, index, previous)
                except (NetworkError, MissingProgram) as error:
                    failed = failed or error
        if failed is not None:
            raise NetworkError(str(failed)) from failed

    async def _add(self, pod_id: str, netns: Path, one: Attachment) -> Attachment:
        network = _joined(one).network
        result: Result | None = None
        for index, kind in enumerate(network.types):
            said = await self._call(Command.ADD, pod_id, str(netns), one, index, result)
            try:
                result = parse_result(said)
            except BadAnswer as error:
                raise rubbish(kind, Command.ADD, network.name, error) from error
        if result is None:
            raise NetworkError(f"network {network.name!r} has no plugins; correct its file")
        dns = result.dns
        return msgspec.structs.replace(
            one,
            result=msgspec.json.encode(result).decode(),
            dns=Dns(
                nameservers=dns.nameservers,
                domain=dns.domain,
                search=dns.search,
                options=dns.options,
            ),
        )

    async def _call(
        self,
        command: Command,
        pod_id: str,
        netns: str,
        one: Attachment,
        index: int,
        previous: Result | None,
    ) -> bytes:
        joined = _joined(one)
        network = joined.network
        variables = environment(
            command,
            container_id=pod_id,
            netns=netns,
            ifname=one.interface,
            path=self._plugins.path,
            args={"IgnoreUnknown": "1"},
        )
        stdin = request(network, index, previous=previous, capabilities=joined.capabilities)
        return await self._plugins.call(
            network.types[index], variables, stdin, network=network.name
        )


async def _end_calls(variables: dict[str, str]) -> None:
    for found in process.find_by_environment(variables):
        await process.terminate(found.pid, found.started, timeout=0)


def _check_capabilities(listed: catalog.Listed, wanted: Mapping[str, Any]) -> None:
    for name in capabilities.missing(listed.network, wanted):
        raise InvalidConfig(
            f"network_config.{capabilities.KEYS[name]} needs a plugin with the capability {name} "
            f"in network {listed.network.name!r}; add one, as {capabilities.PLUGINS[name]}, to "
            f"{listed.file}, or leave the key out"
        )


def _joined(one: Attachment) -> _Joined:
    return msgspec.json.decode(one.config, type=_Joined)


def _wired(result: Result, endpoint: Endpoint | None) -> Result:
    """What is left of a result since its interface was connected to the machine."""
    if endpoint is None:
        return result
    if endpoint.substitute_mac:
        interfaces = tuple(
            msgspec.structs.replace(one, mac=endpoint.substitute_mac)
            if one.sandbox and one.name == endpoint.interface.name
            else one
            for one in result.interfaces
        )
        result = msgspec.structs.replace(result, interfaces=interfaces)
    if endpoint.has_macvtap:
        result = msgspec.structs.replace(result, ips=(), routes=())
    return result


def _result(one: Attachment) -> Result:
    return msgspec.json.decode(one.result, type=Result)
