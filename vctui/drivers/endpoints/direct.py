"""enlightened: whoever filled the namespace made a tap or macvtap, which the machine has as is."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec

from vctui.drivers.endpoints.base import Wiring
from vctui.errors import InvalidConfig
from vctui.linux.links import Links
from vctui.model.kinds import EndpointType, NetInterworkingModel
from vctui.model.network import Endpoint

KINDS: Final = frozenset({EndpointType.TAP, EndpointType.MACVTAP})


class Direct(Wiring):
    def plan(self, endpoint: Endpoint, taken: Collection[str]) -> Endpoint:
        if endpoint.type not in KINDS:
            raise InvalidConfig(
                f"interface {endpoint.interface.name!r} is a {endpoint.type} and no tap or "
                "macvtap; set network_config.interworking_model to tc-filter, or have the network "
                "make taps"
            )
        return msgspec.structs.replace(
            endpoint, tap=endpoint.interface.name, model=NetInterworkingModel.ENLIGHTENED
        )

    def connect(self, endpoint: Endpoint) -> None:
        with Links() as net:
            net.set(net.get(endpoint.tap), state="up")

    def disconnect(self, endpoint: Endpoint) -> None:
        """It is as it was."""
