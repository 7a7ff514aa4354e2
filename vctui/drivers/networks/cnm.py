"""CNM: somebody else fills the namespace, before the pod starts or in its pre-start hooks."""

from __future__ import annotations

from typing import ClassVar

from vctui.drivers.networks.noop import NoopNetwork


class CnmNetwork(NoopNetwork):
    """Nothing is joined or promised by us: what is in the namespace is what there is. Interfaces of
    others stay, or go with it."""

    has_namespace: ClassVar[bool] = True
