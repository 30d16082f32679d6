"""Far ends that lie, and askers that flood: what is believed, and how much is remembered."""

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from ipeql.paths import stamp
from ipeql.probe.clock import Clock
from ipeql.probe.link.packet import TTL, UDP, Datagram, parse
from ipeql.probe.reflector import FAR_END_RATE, MOST_SESSIONS, OTHERS_RATE, Reflector
from ipeql.probe.session import REMEMBERED, Session, echo_of, session_of
from ipeql.state import ProbeSpec, Rung

HERE, FAR, STRANGER = (ip_address(f"10.9.0.{last}") for last in (1, 2, 3))
MS = 10**6
SECOND = 10**9


def session(clock: Clock, key: bytes = b"") -> Session:
    return Session(7, ProbeSpec(FAR), HERE, port=40000, key=key, clock=clock)


def payload_of(packet: bytes) -> Datagram:
    found = parse(packet)
    assert found is not None
    return found


def reply(asked: Datagram, clock: Clock, received: int, sent: int, key: bytes = b"") -> bytes:
    request = stamp.parse_request(asked.payload, key)
    assert request is not None
    answer = stamp.reflect(
        request,
        sequence=0,
        received=received,
        sent=sent,
        ttl=asked.ttl,
        member=9,
        counted=stamp.Counted(),
        key=key,
    )
    assert answer is not None
    return answer


def test_an_answer_is_believed_once() -> None:
    clock = Clock()
    now = clock.look()
    asker = session(clock)
    asked = payload_of(asker.request(now, packets=5))
    sequence = asker.sent(now)
    answer = reply(asked, clock, 1000 * SECOND, 1000 * SECOND + MS)
    assert session_of(answer) == 7
    found = asker.answered(answer, now + 10 * MS)
    assert found is not None
    assert (found.sequence, found.sent, found.received) == (sequence, now, now + 10 * MS)
    assert found.rung is Rung.COUNTED
    assert (found.far_received, found.far_sent) == (1000 * SECOND, 1000 * SECOND + MS)
    assert asker.answered(answer, now + 11 * MS) is None


def test_what_was_never_sent_has_no_answer() -> None:
    clock = Clock()
    now = clock.look()
    asker = session(clock)
    asked = payload_of(asker.request(now, packets=0))
    assert asker.answered(reply(asked, clock, 0, 0), now + MS) is None
    asker.sent(now)
    other = session(clock)
    other.sent(now + MS)
    assert other.answered(reply(asked, clock, 0, 0), now + 2 * MS) is None


@given(st.integers(0, 2**62), st.integers(0, 2**62))
def test_times_of_the_far_end_that_cannot_be_are_left_out(received: int, sent: int) -> None:
    clock = Clock()
    now = clock.look()
    asker = session(clock)
    asked = payload_of(asker.request(now, packets=0))
    asker.sent(now)
    found = asker.answered(reply(asked, clock, received, sent), now + 10 * MS)
    assert found is not None
    if found.far_received is None:
        return
    assert found.far_sent is not None
    assert 0 <= found.far_sent - found.far_received <= 10 * MS


def test_an_answer_without_the_key_is_none() -> None:
    clock = Clock()
    now = clock.look()
    asker = session(clock, b"secret")
    asked = payload_of(asker.request(now, packets=0))
    asker.sent(now)
    assert asker.answered(reply(asked, clock, 0, 0), now + MS) is None
    right = reply(asked, clock, 0, 0, b"secret")
    assert asker.answered(right, now + MS) is not None


def test_a_silent_far_end_makes_us_remember_no_more_than_is_useful() -> None:
    clock = Clock()
    asker = session(clock)
    first = payload_of(asker.request(0, packets=0))
    for now in range(2 * REMEMBERED):
        asker.sent(now)
    assert asker.answered(reply(first, clock, 0, 0), MS) is None


@given(st.binary(max_size=120))
def test_whatever_answers_is_no_error(payload: bytes) -> None:
    asker = session(Clock())
    asker.sent(0)
    asker.answered(payload, MS)
    echo_of(Datagram(1, FAR.packed, HERE.packed, 0, 1, TTL, payload))


def requests(source: bytes, number: int, payload: bytes) -> list[Datagram]:
    return [Datagram(UDP, source, HERE.packed, n + 1, 862, TTL, payload) for n in range(number)]


def test_a_flood_is_answered_in_measure_and_does_not_cost_the_far_end_its_answers() -> None:
    clock = Clock()
    payload = payload_of(session(clock).request(0, packets=0)).payload
    reflector = Reflector(frozenset({FAR.packed}), b"", clock)
    answered = 0
    flood = requests(STRANGER.packed, 20_000, payload)
    for number, asked in enumerate(flood):
        now = SECOND + number * SECOND // len(flood)
        answer = reflector.answer(asked, now, 1, stamp.Counted())
        answered += answer is not None
        assert answer is None or len(answer) == 28 + len(payload)
    assert OTHERS_RATE <= answered <= 1.2 * OTHERS_RATE
    far = requests(FAR.packed, 1, payload)[0]
    assert reflector.answer(far, 2 * SECOND, 1, stamp.Counted()) is not None


def test_sessions_are_remembered_in_measure() -> None:
    clock = Clock()
    payload = payload_of(session(clock).request(0, packets=0)).payload
    reflector = Reflector(frozenset({FAR.packed}), b"", clock)
    replies = [
        reflector.answer(asked, (number + 1) * SECOND // FAR_END_RATE * 2, 1, stamp.Counted())
        for number, asked in enumerate(requests(FAR.packed, MOST_SESSIONS + 1, payload) * 2)
    ]
    counts = [stamp.parse_reply(payload_of(each).payload) for each in replies if each]
    assert {each.sequence for each in counts if each} == {0}


def test_whoever_has_not_the_key_is_not_answered() -> None:
    clock = Clock()
    reflector = Reflector(frozenset({FAR.packed}), b"secret", clock)
    plain = payload_of(session(clock).request(0, packets=0)).payload
    signed = payload_of(session(clock, b"secret").request(0, packets=0)).payload
    one, other = (requests(FAR.packed, 1, each)[0] for each in (plain, signed))
    assert reflector.answer(one, SECOND, 1, stamp.Counted()) is None
    assert reflector.answer(other, SECOND, 1, stamp.Counted()) is not None


def test_who_forges_the_far_end_without_the_key_does_not_cost_it_its_answers() -> None:
    clock = Clock()
    reflector = Reflector(frozenset({FAR.packed}), b"secret", clock)
    plain = payload_of(session(clock).request(0, packets=0)).payload
    signed = payload_of(session(clock, b"secret").request(0, packets=0)).payload
    for asked in requests(FAR.packed, 2 * FAR_END_RATE, plain):
        assert reflector.answer(asked, SECOND, 1, stamp.Counted()) is None
    (own,) = requests(FAR.packed, 1, signed)
    assert reflector.answer(own, SECOND, 1, stamp.Counted()) is not None
