"""NetworkConfig, and what a pod's network is made of as the store keeps it (sheet §6). Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from vctui.model.kinds import EndpointType, NetInterworkingModel, PortProtocol

_ANY: Final = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - nothing is bound here


class PortMapping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """A port of the host that leads to a port of the pod, for as long as the pod runs."""

    host_port: int
    container_port: int
    protocol: PortProtocol = PortProtocol.TCP
    host_ip: str = ""
    """The host's address that it is a port of; "" for all of them."""

    def __str__(self) -> str:
        host = f"[{self.host_ip}]:" if ":" in self.host_ip else self.host_ip and f"{self.host_ip}:"
        return f"{host}{self.host_port}/{self.protocol} -> {self.container_port}"

    def clashes(self, other: PortMapping) -> bool:
        """Whether some packet would be for both."""
        same = (self.host_port, self.protocol) == (other.host_port, other.protocol)
        return same and len({self.host_ip, other.host_ip} - _ANY) < 2


class Bandwidth(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """What may pass through a pod's first interface, in bits; 0 means no limit."""

    ingress_rate: int = 0
    """A second, into the pod."""
    ingress_burst: int = 0
    """At once; 0 for what one second brings."""
    egress_rate: int = 0
    """A second, out of the pod."""
    egress_burst: int = 0
    """At once; 0 for what one second brings."""


class NetworkConfig(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False
):
    """API: NetworkConfig. Without effect where `network_model` is `noop`."""

    net_ns_path: str = ""
    """A network namespace of the host that the pod uses and leaves as it was; "" for one of its
    own, made before the machine and removed after it."""
    num_interfaces: int = 0
    """How many of the namespace's interfaces the pod gets, in their order; 0 means all."""
    interworking_model: NetInterworkingModel = NetInterworkingModel.DEFAULT
    """How an interface of the namespace is connected to the machine."""
    networks: tuple[str, ...] = ()
    """CNI: names of the networks the pod is on, in the order of its interfaces; empty means the
    host's default network."""
    port_mappings: tuple[PortMapping, ...] = ()
    """CNI: ports of the host that lead to the pod's. This key and the next three are for the
    network that the pod is on first, one of whose plugins must know them."""
    ips: tuple[str, ...] = ()
    """CNI: addresses that the pod is to have."""
    mac: str = ""
    """CNI: the hardware address that the pod is to have; "" for any."""
    bandwidth: Bandwidth = Bandwidth()
    """CNI: what may pass through the pod's interface."""


class Dns(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What containers find in /etc/resolv.conf."""

    nameservers: tuple[str, ...] = ()
    domain: str = ""
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


class Attachment(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The pod's membership in one network. It stands in the store before anything is made of it,
    so that whoever comes after a crash knows what may have to be taken away."""

    network: str
    """Its name."""
    interface: str
    """What its interface is called in the pod's namespace, `eth0`."""
    config: str = ""
    """The driver's own: how the network was configured when the pod joined it."""
    result: str = ""
    """The driver's own: what joining it gave; "" while that is not known to be done."""
    dns: Dns = Dns()
    ports: tuple[PortMapping, ...] = ()
    """Of the host, that lead to the pod."""


class Route(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A route that a guest has as the pod's namespace had it."""

    device: str
    dest: str = ""
    """`10.1.0.0/16`; "" is the default route of the family."""
    gateway: str = ""
    source: str = ""
    scope: int = 0
    family: int = 4
    """4 or 6."""
    flags: int = 0
    mtu: int = 0


class Neighbor(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A permanent ARP or NDP entry."""

    device: str
    address: str
    mac: str


class Interface(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A network interface of a guest, as the pod's namespace had it."""

    name: str
    mac: str
    mtu: int
    addresses: tuple[str, ...] = ()
    """Each with the length of its prefix, `10.0.0.2/24`; both families."""
    arp: bool = True
    """Whether neighbours are asked for by ARP and NDP; an ipvlan of mode l3 has none."""


class PhysicalDevice(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A PCI network card that is handed to the guest."""

    bdf: str
    """Its PCI address on the host, `0000:03:00.0`."""
    driver: str
    """The host's driver, which gets it back."""
    vendor_device: str
    """`8086 10fb`."""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One interface of a pod's namespace and how it is connected to the machine (sheet §6.4)."""

    type: EndpointType
    index: int
    """Its place among the pod's endpoints; names of what is made for it come of this."""
    interface: Interface
    model: NetInterworkingModel
    """Never `default`."""
    queues: int = 1
    """Pairs of queues, for as many processors to work on at once."""
    tap: str = ""
    """The tap or macvtap of the namespace that the machine has the other end of; "" where there
    is none."""
    bridge: str = ""
    substitute_mac: str = ""
    """What the namespace's interface has for a MAC while the guest has its own."""
    socket: str = ""
    """Of a vhost-user endpoint."""
    physical: PhysicalDevice | None = None
    pci_path: str = ""
    """Of one that was plugged into a running machine: slots from the root bus on, `02/01`."""

    @property
    def id(self) -> str:
        """What the hypervisor calls it."""
        return f"net{self.index}"

    @property
    def has_macvtap(self) -> bool:
        """Whether `tap` is a macvtap."""
        return NetInterworkingModel.MACVTAP is self.model or EndpointType.MACVTAP is self.type


class PodNetwork(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A pod's network while it has one."""

    namespace: str
    """Path of the network namespace."""
    created: bool
    """Whether the namespace is the pod's own, and goes with it."""
    attachments: tuple[Attachment, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    routes: tuple[Route, ...] = ()
    neighbors: tuple[Neighbor, ...] = ()
    dns: Dns = Dns()
    pending: tuple[str, ...] = ()
    """Interfaces that are being connected or disconnected while the machine runs; those that an
    engine has left here when it died are to be disconnected."""
    failed: str = ""
    """Why it could not be left when the pod ended; it is tried again when the pod is started or
    deleted."""
