"""resolv.conf: what means something elsewhere is read, and nothing can be smuggled into a line."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vctui.model.network import Dns
from vctui.wire import resolver

words = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)


def test_a_usual_file():
    text = """
# made by somebody
nameserver 192.0.2.1
nameserver 2001:db8::1
search example.org lan
options ndots:2 rotate
"""
    assert resolver.parse(text) == Dns(
        nameservers=("192.0.2.1", "2001:db8::1"),
        search=("example.org", "lan"),
        options=("ndots:2", "rotate"),
    )


def test_servers_that_only_the_host_reaches_are_left_out():
    text = "\n".join(
        f"nameserver {each}" for each in ("127.0.0.53", "::1", "fe80::1%eth0", "0.0.0.0", "ns.lan")
    )
    assert resolver.parse(text).nameservers == ()


def test_of_domain_and_search_the_last_counts():
    assert resolver.parse("domain one\nsearch two three") == Dns(search=("two", "three"))
    assert resolver.parse("search two three\ndomain one") == Dns(domain="one")


def test_more_than_a_resolver_takes_are_left_out():
    text = "\n".join(f"nameserver 192.0.2.{n}" for n in range(1, 9))
    assert len(resolver.parse(text).nameservers) == resolver.MAX_NAMESERVERS


@given(st.text())
def test_whatever_is_read_is_written_and_read_alike(text: str):
    read = resolver.parse(text)
    assert resolver.parse("\n".join(resolver.lines(read))) == read


@given(st.lists(words), words, st.lists(words))
def test_a_value_stays_in_its_line(servers: list[str], domain: str, options: list[str]):
    dns = Dns(nameservers=tuple(servers), domain=domain, options=tuple(options))
    for line in resolver.lines(dns):
        assert len(line.splitlines()) == 1
        assert line.split(" ")[0] in {"nameserver", "domain", "options"}
