"""A host whose prober is flooded with forged and damaged requests, by one of two slaves."""

import os
import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pytest

from ipeql.paths import stamp
from ipeql.probe.link.packet import UDP, Datagram, Flow
from ipeql.probe.reflector import FAR_END_RATE, OTHERS_RATE
from lab.network.host import Host
from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from tests.netns.bundle import bundle, configuration, wait_for
from tests.netns.paths.ends import probers, standings
from tests.netns.paths.flood import flood
from tests.netns.paths.probers import mac
from tests.netns.paths.watch import OUTGOING, Seen, of_port, watch

pytestmark = pytest.mark.netns

FAR, ATTACKED = "10.9.0.1", "10.9.0.2"
"""The bundles of host a, from which the flood comes too, and of host b."""

RATE, SECONDS = 50_000, 4.0
PATIENCE_S = 30.0
SECOND = 10**9
_ETHERTYPE = b"\x08\x00"


def written(number: int, key: Path | None) -> str:
    """Return the configuration of host a (1) or b (2)."""
    more = f", key-file: {key}" if key else ""
    return configuration(
        bundle(
            ("{name: eth1, bandwidth: 1Gbit}", "{name: eth2, bandwidth: 1Gbit}"),
            "bw_load",
            f"probe: {{to: 10.9.0.{3 - number}, by: stamp{more}}}",
            addresses=f"addresses: [10.9.0.{number}/24]",
        )
    )


@contextmanager
def ends(lab: Lab, key: Path | None = None) -> Iterator[tuple[Ipeqld, Ipeqld]]:
    """Have a daemon in each host, once all paths are up."""
    with ExitStack() as stack:
        a = stack.enter_context(Ipeqld(lab.a, written(1, key)))
        b = stack.enter_context(Ipeqld(lab.b, written(2, key)))
        for daemon in (a, b):
            wait_for(lambda daemon=daemon: standings(daemon) == ["up", "up"], PATIENCE_S)  # type: ignore[misc]
        yield a, b


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab([None, None]) as lab:
        yield lab


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a flood.

    ``share``: of the far end's own probes over the attacked slave, those that were answered;
    ``delays``: of the answers, sorted, ns. ``answers``: what the attacked host sent over that slave
    beside them. ``standings``: where its paths stood at any time. ``busy``: its prober's share of a
    processor.
    """

    share: float
    delays: Sequence[int]
    answers: Sequence[Seen]
    standings: frozenset[str]
    busy: float
    rate: float

    def __str__(self) -> str:
        median, late = (self.delays[int(part * len(self.delays))] for part in (0.5, 0.99))
        return (
            f"{self.rate:.0f} requests/s: {100 * self.share:.1f} % of {len(self.delays)} probes "
            f"answered after {median / 1e6:.2f} ms (99 %: {late / 1e6:.2f}), prober "
            f"{100 * self.busy:.0f} % of a processor, {len(self.answers)} other packets, paths "
            f"{'/'.join(sorted(self.standings))}"
        )


def seconds_of(pid: int) -> float:
    """Return the processor time that a process has had."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def port_of(host: Host) -> int:
    """Return the port that the probes of a host come from."""
    with watch(host, "eth2", of_port(862)) as seen:
        ports: list[int] = []
        while not ports:
            datagrams = [each.datagram for each in seen.take() if each.outgoing]
            ports = [each.source_port for each in datagrams if each and each.port == 862]
    return ports[0]


def frames(lab: Lab, packets: Sequence[bytes]) -> list[bytes]:
    """Return packets as frames from host a to host b over eth1."""
    to, by = (bytes.fromhex(mac(host, "eth1").replace(":", "")) for host in (lab.b, lab.a))
    return [to + by + _ETHERTYPE + packet for packet in packets]


def attack(
    lab: Lab, b: Ipeqld, packets: Sequence[bytes], rate: int = RATE, seconds: float = SECONDS
) -> Outcome:
    """Flood host b by eth1 with ``packets`` in turn."""
    (pid,) = probers(lab.b)
    port = port_of(lab.a)
    seen_standings: set[str] = set()
    with (
        watch(lab.b, "eth1", OUTGOING) as sent,
        watch(lab.a, "eth1", of_port(port)) as probed,
        ExitStack() as stack,
    ):
        before = seconds_of(pid)
        rates = stack.enter_context(
            flood(lab.a, "eth1", frames(lab, packets), rate=rate, seconds=seconds)
        )
        begin = len(rates)
        for _ in range(int(5 * seconds)):
            seen_standings |= set(standings(b))
        stack.close()
        assert begin == 0
        busy = (seconds_of(pid) - before) / (seconds * rate / rates[0])
        share, delays = answered(probed.take())
        answers = [each for each in sent.take() if _port(each) != port and not _is_probe(each)]
    assert probers(lab.b) == [pid]
    return Outcome(share, delays, answers, frozenset(seen_standings), busy, rates[0])


def _port(seen: Seen) -> int:
    return seen.datagram.port if seen.datagram else 0


def _is_probe(seen: Seen) -> bool:
    """Say whether it is a probe of the attacked host's own, or no IPv4."""
    datagram = seen.datagram
    return seen.frame[12:14] != _ETHERTYPE or (datagram is not None and datagram.port == 862)


def answered(seen: Sequence[Seen]) -> tuple[float, list[int]]:
    """Return the share of the probes that were answered, and the delays, sorted."""
    asked_at: dict[bytes, int] = {}
    delays = []
    for each in seen:
        payload = each.datagram.payload if each.datagram else b""
        if each.outgoing:
            asked_at[payload[:12]] = each.time
        elif payload[24:36] in asked_at:
            delays.append(each.time - asked_at[payload[24:36]])
    return len(delays) / max(1, len(asked_at)), sorted(delays)


def request(source: str, source_port: int, payload: bytes = b"") -> bytes:
    """Return a request to host b as a packet; ``source`` is whoever it says it is of."""
    flow = Flow(ip_address(source).packed, ip_address(ATTACKED).packed, source_port, 862)
    asks = stamp.build_request(sequence=source_port, sent=SECOND, ssid=1, member=1, packets_sent=0)
    return flow.packet(payload or asks)


def ports(avoided: int) -> list[int]:
    """Return ports that forged requests come from; the far end's own is not known to strangers."""
    return [port for port in range(10_000, 30_000) if port != avoided]


def test_strangers_get_nothing_and_the_far_end_all_its_answers(lab: Lab) -> None:
    dice = random.Random(1)
    with ends(lab) as (_, b):
        packets = [
            request(f"198.18.{dice.randrange(256)}.{dice.randrange(1, 255)}", port)
            for port in ports(0)[:5000]
        ]
        outcome = attack(lab, b, packets)
        print(f"\nstrangers, {outcome}")
        assert outcome.answers == []
        assert outcome.share > 0.9
        assert outcome.standings == {"up"}


def test_others_of_the_bundle_s_network_are_answered_in_measure(lab: Lab) -> None:
    with ends(lab) as (_, b):
        packets = [request(f"10.9.0.{100 + port % 100}", port) for port in ports(0)[:5000]]
        outcome = attack(lab, b, packets)
        print(f"\nneighbours, {outcome}")
        check_answers(outcome, OTHERS_RATE, len(packets[0]))
        assert outcome.share > 0.9
        assert outcome.standings == {"up"}


def test_who_forges_the_far_end_gets_no_more_than_it_sends(lab: Lab) -> None:
    with ends(lab) as (_, b):
        packets = [request(FAR, port) for port in ports(port_of(lab.a))[:5000]]
        outcome = attack(lab, b, packets)
        print(f"\nforged far end, {outcome}")
        check_answers(outcome, FAR_END_RATE, len(packets[0]))
        wait_for(lambda: standings(b) == ["up", "up"], PATIENCE_S)


def test_who_forges_the_far_end_without_its_key_gets_nothing(lab: Lab, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("secret\n")
    with ends(lab, key) as (_, b):
        packets = [request(FAR, port) for port in ports(port_of(lab.a))[:5000]]
        outcome = attack(lab, b, packets)
        print(f"\nforged far end with a key, {outcome}")
        assert outcome.answers == []
        wait_for(lambda: standings(b) == ["up", "up"], PATIENCE_S)


def check_answers(outcome: Outcome, rate: int, size: int) -> None:
    """Check that there are answers, no more than the bound, and none larger than what is asked."""
    asked_at = {each.datagram.port for each in outcome.answers if each.datagram}
    assert outcome.answers
    assert asked_at <= set(ports(0))
    assert {len(each.frame) for each in outcome.answers} == {14 + size}
    took = (outcome.answers[-1].time - outcome.answers[0].time) / SECOND
    assert len(outcome.answers) <= rate * (took + 0.2)


DAMAGED = 20_000
ROUNDS = 5


def damaged(dice: random.Random, whole: bytes) -> bytes:
    """Return what is left of a request: cut, lengthened, with other bytes, lengths and types."""
    packet = bytearray(whole)
    kind = dice.randrange(5)
    if kind == 0:
        del packet[dice.randrange(len(packet)) :]
    elif kind == 1:
        packet += dice.randbytes(dice.randrange(1, 200))
    elif kind == 2:  # the length of the first TLV, behind the base packet
        packet[46:48] = dice.randbytes(2)
    elif kind == 3:
        packet[45] = dice.randrange(256)
    else:
        for _ in range(dice.randrange(1, 8)):
            packet[dice.randrange(len(packet))] = dice.randrange(256)
    return bytes(packet)


def test_damaged_packets_are_answered_as_rfc_8972_has_it_or_not_at_all(lab: Lab) -> None:
    dice = random.Random(2)
    with ends(lab) as (_, b):
        whole = stamp.build_request(sequence=7, sent=SECOND, ssid=1, member=1, packets_sent=0)
        asked_by = {port: damaged(dice, whole) for port in ports(port_of(lab.a))[:DAMAGED]}
        packets = [request(FAR, port, payload) for port, payload in asked_by.items() if payload]
        for number in range(0, len(packets), 10):  # one in ten was damaged on the way
            packet = bytearray(packets[number])
            packet[-1] ^= 0x55
            packets[number] = bytes(packet)
        spoilt = {int.from_bytes(packet[20:22]) for packet in packets[::10]}
        said = len(b.log)
        outcome = attack(lab, b, packets, rate=DAMAGED, seconds=ROUNDS)
        print(f"\ndamaged, {outcome}")
        assert outcome.answers
        for each in outcome.answers:
            answer = each.datagram
            assert answer is not None and answer.protocol == UDP
            assert answer.port not in spoilt
            check_answer(asked_by[answer.port], answer)
        wait_for(lambda: standings(b) == ["up", "up"], PATIENCE_S)
        b.stop()
        lines = [line for line in b.log[said:] if "Traceback" in line or "rror" in line]
        assert lines == []
        b.start()


def check_answer(asks: bytes, answer: Datagram) -> None:
    """Check an answer by RFC 8762, 4.3 and RFC 8972, 4: as long; U and M where they are due."""
    payload = answer.payload
    assert len(payload) == len(asks) >= 14
    if len(asks) >= 36:
        assert payload[24:36] == asks[:12]
    at = 44
    while at < len(asks) and any(asks[44:48]):
        flags = payload[at]
        if len(asks) - at < 4:
            assert flags & 0x40
            return
        kind, length = asks[at + 1], int.from_bytes(asks[at + 2 : at + 4])
        assert payload[at + 1 : at + 4] == asks[at + 1 : at + 4]
        if at + 4 + length > len(asks):
            assert flags & 0x40
            return
        if kind not in (1, 5, 11, 240):
            assert flags & (0xC0 if kind == 8 else 0x80)
            assert payload[at + 4 : at + 4 + length] == asks[at + 4 : at + 4 + length]
        at += 4 + length
