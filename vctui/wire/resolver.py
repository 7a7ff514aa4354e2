"""resolv.conf(5) ↔ Dns. Pure."""

from __future__ import annotations

import ipaddress
from typing import Final

from vctui.model.network import Dns

MAX_NAMESERVERS: Final = 3
MAX_SEARCH: Final = 32


def parse(text: str) -> Dns:
    """What a resolv.conf of the host means to somebody elsewhere.

    Name servers that only the host itself reaches (loopback) are left out, as is what is no
    address; of several `search` or `domain` lines the last counts.
    """
    nameservers: list[str] = []
    domain = ""
    search: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.splitlines():
        keyword, *values = line.split()[:64] or [""]
        if keyword == "nameserver" and values and _is_reachable(values[0]):
            nameservers.append(values[0])
        elif keyword == "domain" and values:
            domain, search = values[0], ()
        elif keyword == "search":
            domain, search = "", tuple(values[:MAX_SEARCH])
        elif keyword == "options":
            options += values
    return Dns(
        nameservers=tuple(nameservers[:MAX_NAMESERVERS]),
        domain=domain,
        search=search,
        options=tuple(options),
    )


def lines(dns: Dns) -> list[str]:
    """The lines of a resolv.conf, without line ends; whitespace in a value cannot add any."""
    found = [f"nameserver {_word(each)}" for each in dns.nameservers]
    if dns.search:
        found.append("search " + " ".join(map(_word, dns.search)))
    elif dns.domain:
        found.append(f"domain {_word(dns.domain)}")
    if dns.options:
        found.append("options " + " ".join(map(_word, dns.options)))
    return found


def _word(text: str) -> str:
    return "".join(text.split())


def _is_reachable(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified or "%" in text)
