"""What waits in the TUN worker for a slave, and what a slave's line has been given."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipeql.backends.tun.worker import line as lines
from ipeql.backends.tun.worker import waiting as waitings
from ipeql.backends.tun.worker.flow import flow_of
from ipeql.backends.tun.worker.line import Line
from ipeql.backends.tun.worker.packet import Packet
from ipeql.backends.tun.worker.waiting import LEAST_BYTES, MOST_FLOWS, Waiting

MS = 10**6
SECOND = 10**9
MBIT = 10**6


def packet(size: int = 1000, mark: int = 0, port: int = 1) -> Packet:
    """Return a datagram over IPv4; ``mark`` tells it from others, ``port`` its flow."""
    header = struct.pack(
        "!BBHHHBBH4s4sHH", 0x45, 0, size, 0, 0, 64, 17, 0, b"from", b"here", port, 9
    )
    return Packet(b"", header.ljust(size, b"."), b"here", marks=(mark, 0))


def fill(waiting: Waiting) -> int:
    """Return how many bytes have room."""
    count = 0
    while not waiting.put(packet()):
        count += 1000
    waiting.clear()
    return count


def marks(packets: list[Packet]) -> list[int]:
    return [each.marks[0] for each in packets]


def test_the_order_stays_and_nothing_is_lost() -> None:
    waiting = Waiting()
    for mark in range(3):
        assert not waiting.put(packet(mark=mark))
    first = waiting.take()
    waiting.put_back(first)
    assert len(waiting) == 3
    assert marks(waiting.clear()) == [0, 1, 2]
    assert len(waiting) == 0
    assert not waiting.put(packet(mark=7))
    assert marks([waiting.take()]) == [7]


def test_flows_take_turns_and_a_new_one_is_first() -> None:
    waiting = Waiting()
    for mark in range(30):
        waiting.put(packet(1500, mark))
    taken = [waiting.take() for _ in range(10)]
    waiting.put(packet(200, 100, port=2))
    taken += [waiting.take() for _ in range(3)]
    assert marks(taken) == [*range(10), 100, 10, 11] or marks(taken) == [*range(11), 100, 11]
    for mark in range(200, 210):
        waiting.put(packet(1500, mark, port=3))
    rest = marks([waiting.take() for _ in range(20)])
    assert sum(mark >= 200 for mark in rest) in (9, 10)
    assert [mark for mark in rest if mark < 200] == sorted(mark for mark in rest if mark < 200)


def test_the_longest_flow_loses_its_first_packet() -> None:
    waiting = Waiting()
    waiting.put(packet(200, 7, port=2))
    dropped = 0
    for mark in range(100):
        dropped += waiting.put(packet(1500, mark))
    left = marks(waiting.clear())
    assert dropped == 100 - (len(left) - 1)
    assert set(left) == {7, *range(dropped, 100)}
    assert (len(left) - 1) * 1500 + 200 <= LEAST_BYTES


def test_all_flows_beyond_many_have_one_turn_together() -> None:
    waiting = Waiting()
    ports = range(2 * MOST_FLOWS)
    for round_ in (0, 1000):
        for port in ports:
            assert not waiting.put(packet(28, round_ + port, port))
    left = marks(waiting.clear())
    assert sorted(left) == [*ports, *(1000 + port for port in ports)]
    beyond = [mark for mark in left if mark % 1000 >= MOST_FLOWS]
    assert beyond == sorted(beyond), "in the order in which they came, whatever the flow"
    own = [mark for mark in left if mark % 1000 < MOST_FLOWS]
    assert own[:2] == [0, 1000]


def test_a_flow_beyond_them_stays_there_until_all_of_it_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waitings, "MOST_FLOWS", 2)
    waiting = Waiting()
    for port in (1, 2):
        waiting.put(packet(100, port, port))
    for mark in range(10, 20):
        waiting.put(packet(1500, mark, port=3))
    taken = [waiting.take() for _ in range(8)]
    waiting.put(packet(1500, 20, port=3))
    taken += waiting.clear()
    assert [mark for mark in marks(taken) if mark >= 10] == list(range(10, 21))


packets = st.lists(
    st.tuples(st.sampled_from(["put", "take", "back"]), st.integers(1, 4), st.integers(28, 3000)),
    max_size=300,
)


@pytest.mark.parametrize("most", [1, 2, MOST_FLOWS])
@given(steps=packets)
def test_no_flow_is_reordered_and_every_packet_is_accounted_for(
    most: int, steps: list[tuple[str, int, int]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(waitings, "MOST_FLOWS", most)
        _go(steps)


def _go(steps: list[tuple[str, int, int]]) -> None:
    waiting, put, gone = Waiting(), 0, 0
    last = dict.fromkeys(range(1, 5), -1)
    for step, port, size in steps:
        if step == "put":
            gone += waiting.put(packet(size, put, port))
            put += 1
        elif waiting:
            taken = waiting.take()
            if step == "back":
                waiting.put_back(taken)
                continue
            number = taken.marks[0]
            came = int.from_bytes(taken.body[20:22])
            assert number > last[came]
            last[came] = number
            gone += 1
    assert put - gone == len(waiting)


def test_what_is_one_flow() -> None:
    whole, other = packet(port=1).body, packet(port=2).body
    fragment = bytes(whole[:6]) + b"\x20\x00" + bytes(whole[8:])
    later = bytes(other[:6]) + b"\x00\x10" + bytes(other[8:])
    assert flow_of(whole) != flow_of(other)
    assert flow_of(fragment) == flow_of(later)
    six = struct.pack("!IHBB32sHH", 6 << 28 | 5, 4, 17, 64, b"b" * 32, 1, 2)
    label = struct.pack("!IHBB32sHH", 6 << 28 | 5, 4, 0, 64, b"b" * 32, 1, 2)
    assert len({flow_of(six), flow_of(label), flow_of(whole)}) == 3
    assert flow_of(label) == flow_of(label[:40] + b"????")
    assert flow_of(memoryview(whole)) == flow_of(whole)


def test_the_bound_is_a_time_of_the_largest_rate_of_two_seconds_and_a_half() -> None:
    waiting = Waiting()
    assert fill(waiting) == LEAST_BYTES
    waiting.bound(SECOND, 20 * MBIT, 100 * MS)
    assert fill(waiting) == 250_000
    waiting.bound(SECOND * 3, 2 * MBIT, 100 * MS)
    assert fill(waiting) == 250_000
    waiting.bound(SECOND * 4, 2 * MBIT, 100 * MS)
    assert fill(waiting) == LEAST_BYTES


def test_a_probe_has_met_what_was_sent_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter((10, 20, 30, 40, 50, 2000))
    monkeypatch.setattr(lines, "monotonic_ns", lambda: next(times))
    line = Line()
    for _ in range(5):
        line.note(100)
    assert line.since(0) == 500
    assert line.since(25) == 300
    assert line.since(30) == 200
    assert line.since(30) == 200
    assert line.since(1000) == 0
    line.note(50)
    assert line.since(1000) == 50
