"""Modules are inserted after what they need, and found by the names that the kernel uses."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.image.reading import module
from vctui.image import modules


def _module(name: str, *depends: str) -> modules.Module:
    return modules.parse(f"kernel/{name}.ko", module(f"depends={','.join(depends)}"))


def test_a_module_says_what_it_needs_and_how_it_is_asked_for() -> None:
    data = module(
        "license=GPL", "depends=9pnet,net-fs", "softdep=pre: crc-x y post: z", "alias=fs-9p"
    )
    found = modules.parse("kernel/fs/9p/9p.ko", data)
    assert found.name == "9p"
    assert found.depends == ("9pnet", "net_fs", "crc_x", "y")
    assert found.aliases == ("fs-9p",)


def test_a_signature_is_cut_off() -> None:
    data = module("license=GPL")
    signature = b"s" * 300
    signed = data + signature + bytes(8) + len(signature).to_bytes(4, "big")
    signed += b"~Module signature appended~\n"
    assert modules.parse("kernel/a.ko", signed).data == data
    assert modules.without_signature(data) == data


def test_names_do_not_care_for_dashes_and_compression() -> None:
    paths = ["kernel/drivers/virtio-rng.ko.xz", "kernel/fs/fuse.ko", "modules.order"]
    assert modules.index(paths) == {"virtio_rng": paths[0], "fuse": paths[1]}


def test_files_for_modprobe_name_all_that_is_needed_nearest_last() -> None:
    built = (_module("base"), _module("mid", "base", "builtin"), _module("top", "mid"))
    assert modules.dependency_file(built) == (
        "kernel/base.ko:\n"
        "kernel/mid.ko: kernel/base.ko\n"
        "kernel/top.ko: kernel/mid.ko kernel/base.ko\n"
    )
    aliased = modules.parse("kernel/a.ko", module("alias=fs-a", "alias=pci:v*"))
    assert modules.alias_file([aliased]) == "alias fs-a a\nalias pci:v* a\n"


@given(st.dictionaries(st.sampled_from("abcdefg"), st.lists(st.sampled_from("abcdefg"))))
def test_whatever_needs_what_everything_comes_once_and_in_order(
    graph: dict[str, list[str]],
) -> None:
    names = dict.fromkeys([*graph, *(name for needs in graph.values() for name in needs)])
    order = list(names)
    known = {
        name: _module(name, *(need for need in graph.get(name, []) if order.index(need) > i))
        for i, name in enumerate(order)
    }
    built = [found.name for found in modules.in_order(names, known)]
    assert sorted(built) == sorted(names)
    for i, name in enumerate(built):
        assert set(known[name].depends) <= set(built[:i])
