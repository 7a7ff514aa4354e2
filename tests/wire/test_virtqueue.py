"""The device's side of a virtqueue, against drivers that do as they should and some that do not."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.virtio_guest import INDIRECT, NEXT, WRITE, DriverQueue
from vctui.wire.virtqueue import BadRing, Memory, Piece, Queue

GUEST, USER = 0x4000_0000, 0x7F00_0000_0000
SIZE = 8
ARENA = 4096


class Side:
    def __init__(self, base: int = 0) -> None:
        self.buffer = memoryview(bytearray(ARENA + SIZE * 70000))
        self.driver = DriverQueue(self.buffer, 0, SIZE, guest_base=GUEST, arena=ARENA)
        self.memory = Memory([Piece(GUEST, USER, self.buffer)])
        struct.pack_into("<H", self.buffer, self.driver.available + 2, base)
        self.queue = self.make(base=base)

    def make(self, **changed: int) -> Queue:
        where = {
            "size": SIZE,
            "descriptors": USER + self.driver.descriptors,
            "available": USER + self.driver.available,
            "used": USER + self.driver.used,
        }
        return Queue(self.memory, **{**where, **changed})

    def take_bad(self) -> str:
        with pytest.raises(BadRing) as refused:
            self.queue.take()
        return str(refused.value)


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=300), st.integers(0, 300)), max_size=40))
def test_what_a_driver_posts_is_read_in_order_and_given_back(posts: list[tuple[bytes, int]]):
    side = Side()
    for data, split in posts:
        side.driver.post(data, split=split)
        chain = side.queue.take()
        assert chain is not None
        assert chain.read(0, 1 << 20) == data
        assert chain.read(1, 5) == data[1:6]
        assert side.queue.take() is None
        side.queue.give(chain.head, 0)
        assert side.driver.returned() == [b""]


@given(st.lists(st.integers(0, 100), min_size=1, max_size=3), st.binary(max_size=400))
def test_what_is_written_fills_the_room_that_there_is(lengths: list[int], data: bytes):
    side = Side()
    side.driver.room(*lengths)
    chain = side.queue.take()
    assert chain is not None
    assert chain.room == sum(lengths)
    written = chain.write(data)
    side.queue.give(chain.head, written)
    assert side.driver.returned() == [data[: sum(lengths)]]


def test_indices_wrap_around():
    side = Side(base=65534)
    for number in range(5):
        side.driver.post(b"%d" % number)
        chain = side.queue.take()
        assert chain is not None
        assert chain.read(0, 9) == b"%d" % number
        side.queue.give(chain.head, 0)
        side.driver.returned()
    assert side.queue.base == 3


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"size": 0}, "cannot have 0"),
        ({"size": 12}, "cannot have 12"),
        ({"size": 1 << 15}, "cannot have"),
        ({"descriptors": USER + 8}, "not aligned"),
        ({"descriptors": 16}, "not shared with us"),
        ({"available": USER + ARENA + SIZE * 70000 - 2}, "not shared with us"),
        ({"used": USER - 4}, "not shared with us"),
    ],
)
def test_a_queue_that_cannot_be_is_refused(changed: dict[str, int], says: str):
    with pytest.raises(BadRing, match=says):
        Side().make(**changed)


@pytest.mark.parametrize(
    ("descriptors", "says"),
    [
        ([(GUEST, 10, NEXT, 1), (GUEST, 10, NEXT, 0)], "without an end"),
        ([(GUEST, 10, NEXT, 0)], "without an end"),
        ([(GUEST, 10, NEXT, SIZE)], f"descriptor {SIZE} of {SIZE}"),
        ([(GUEST - 1, 10, 0, 0)], "not the guest's memory"),
        ([(GUEST, 0xFFFFFFFF, 0, 0)], "not the guest's memory"),
        ([(2**64 - 1, 16, 0, 0)], "not the guest's memory"),
        ([(GUEST, 10, INDIRECT, 0)], "indirect"),
        ([(GUEST, 10, WRITE | NEXT, 1), (GUEST, 10, 0, 0)], "readable descriptor after"),
    ],
)
def test_a_chain_that_cannot_be_is_refused(descriptors: list[tuple[int, int, int, int]], says: str):
    side = Side()
    for number, descriptor in enumerate(descriptors):
        side.driver.describe(number, *descriptor)
    side.driver.offer(0)
    assert says in side.take_bad()


def test_a_head_or_a_number_of_buffers_that_cannot_be_is_refused():
    side = Side()
    side.driver.offer(SIZE + 1)
    assert f"descriptor {SIZE + 1}" in side.take_bad()
    other = Side()
    struct.pack_into("<H", other.buffer, other.driver.available + 2, SIZE + 1)
    assert f"{SIZE + 1} buffers" in other.take_bad()


@given(st.binary(min_size=SIZE * 16 + 4 + SIZE * 2, max_size=SIZE * 16 + 4 + SIZE * 2))
def test_any_bytes_in_the_rings_end_or_are_refused(rings: bytes):
    side = Side()
    side.buffer[: len(rings)] = rings
    try:
        for _ in range(SIZE + 1):
            chain = side.queue.take()
            if chain is None:
                break
            assert len(chain.readable) + len(chain.writable) <= SIZE
            chain.write(b"x" * 100)
            side.queue.give(chain.head, 0)
        else:
            pytest.fail("more buffers than the queue has")
    except BadRing:
        pass


def test_memory_ends_where_it_ends():
    first, second = memoryview(bytearray(100)), memoryview(bytearray(50))
    memory = Memory([Piece(0, 1000, first), Piece(500, 5000, second)])
    assert memory.guest(0, 100).nbytes == 100
    assert memory.user(5049, 1).nbytes == 1
    for wrong in (
        lambda: memory.guest(1, 100),
        lambda: memory.guest(499, 2),
        lambda: memory.user(0, 1),
    ):
        with pytest.raises(BadRing):
            wrong()
