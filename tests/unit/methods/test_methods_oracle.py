"""Every decision of every method against a second statement of docs/methods.md.

The rules below are written from the page alone, as plainly as it states them; every number they
form has to fit a signed 64-bit integer, as in the dataplanes written in C.
"""

import random
from dataclasses import astuple, dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipeql.methods import METHODS, PLAIN, USES, Arrival, Decision, Rules, SlaveParameters, create

VIRTUAL_QUEUES = {"bw_lag", "bw_lag_val", "bw_lag_eq"}


def int64(value: int) -> int:
    assert -(2**63) <= value < 2**63
    return value


@dataclass(frozen=True)
class Packet:
    length: int
    segments: int = 1
    header: int = 0
    queued: tuple[int, ...] = ()
    light: bool = False
    flow: int = 0
    dscp: int = 0


class Oracle:
    """docs/methods.md, executed. ``among`` is the set to choose from."""

    def __init__(
        self, name: str, slaves: list[SlaveParameters], rules: Rules, parameters: dict[str, Any]
    ) -> None:
        self.name, self.slaves, self.rules, self.parameters = name, slaves, rules, parameters
        self.usable = list(range(len(slaves)))
        self.expected: list[int] = []
        self.among: list[int] = []
        self.busy = [0] * len(slaves)
        self.credit = [0] * len(slaves)
        self.last, self.turn = len(slaves) - 1, 0
        self.buckets: dict[int, tuple[int, int]] = {}
        self.adjusted = False
        self.weigh()

    def weigh(self) -> None:
        total = sum(slave.bandwidth for slave in self.slaves)
        self.weight = [max(1, each.bandwidth * 2**16 // max(1, total)) for each in self.slaves]

    def lag(self, i: int) -> int:
        return self.slaves[i].lag or 0

    def by_lag(self, i: int) -> tuple[int, int]:
        ordered = all(slave.lag is not None for slave in self.slaves)
        return (self.lag(i) if ordered else 0, i)

    def those(self, use: str) -> list[int]:
        return [i for i in self.candidates() if self.slaves[i].use == use]

    def candidates(self) -> list[int]:
        used = [i for i in self.usable if self.slaves[i].use != "when-down"]
        return used or self.usable[:1]

    def to_choose_from(self, now: int) -> list[int]:
        """Return the candidates, but those that are when-full only while all others are full."""
        full = all(self.busy[i] > int64(now + self.rules.overflow_after) for i in self.always())
        return self.candidates() if full or not self.overflows() else self.always()

    def keeps_flows(self) -> bool:
        return self.rules.stripe_unit in ("flow", "flowlet")

    def always(self) -> list[int]:
        return self.those("always")

    def overflows(self) -> bool:
        return any(slave.use == "when-full" for slave in self.slaves)

    def set_usable(self, mask: int, expected: int = 0) -> None:
        before = self.candidates()
        places = range(len(self.slaves))
        self.usable = [i for i in places if mask & 2**i]
        self.expected = [i for i in places if expected & 2**i and i not in self.usable]
        if self.candidates() != before and not self.adjusted:
            self.credit = [0] * len(self.slaves)

    def adjust(self, slaves: list[SlaveParameters]) -> None:
        self.slaves, self.adjusted = slaves, True
        self.weigh()

    def tick(self) -> None:
        if self.name != "bw_poll":
            return
        interval = self.parameters.get("poll_interval", 10**9)
        divisor = 8 * 10**9 * (1500 if self.parameters.get("count") == "packets" else 1)
        for i, slave in enumerate(self.slaves):
            total = sum(self.weight[j] for j in self.candidates())
            worth = total * slave.bandwidth * interval // divisor
            before = self.credit[i]
            self.credit[i] = before - min(worth, before) if before > 0 else before
            self.credit[i] += min(worth, -before) if before < 0 else 0

    def pick(self, now: int, packet: Packet) -> Decision:
        self.adjusted = False
        self.among = self.to_choose_from(now)
        if not self.among:
            return Decision(None, now, "no_slave")
        if self.rules.light_dscps & 2**packet.dscp:
            decision = self.send_copies(now, packet, 1)
        elif self.rules.duplicate_dscps & 2**packet.dscp:
            decision = self.send_copies(now, packet, 2)
        elif self.keeps_flows() and self.name != "duplicate":
            decision = self.keep(now, packet)
        else:
            decision = self.choose(now, packet)
        if self.overflows() and self.name not in VIRTUAL_QUEUES and decision.slave is not None:
            for i in (decision.slave, *decision.also):
                self.busy[i] = self.finish(i, now, packet)
        return decision

    def choose(self, now: int, packet: Packet) -> Decision:
        return getattr(self, self.name)(now, packet)  # type: ignore[no-any-return]

    def send_copies(self, now: int, packet: Packet, copies: int) -> Decision:
        order = [i for i in self.among if self.name != "bw_lag_eq" or self.has_room(i, now)]
        if all(slave.bandwidth and slave.lag is not None for slave in self.slaves):
            order.sort(key=lambda i: (self.takes(i, packet) + self.lag(i), i))
        if not order:
            return Decision(None, now, "queue_full")
        first, *others = order[:copies]
        if self.name in VIRTUAL_QUEUES:
            for i in others:
                self.busy[i] = self.finish(i, now, packet)
        self.charge(first, now, packet)
        return Decision(first, now, also=tuple(others))

    def keep(self, now: int, packet: Packet) -> Decision:
        slave, last = self.buckets.get(packet.flow, (None, 0))
        lags = [self.lag(i) for i in self.candidates()]
        rested = now - last > max(max(lags) - min(lags), 1_000_000)
        if slave not in self.among or (rested and self.rules.stripe_unit == "flowlet"):
            decision = self.choose(now, packet)
        elif self.name == "bw_lag_eq":
            decision = self.send_first([slave] if slave in self.within_hold() else [], now, packet)
        else:
            decision = self.charge(slave, now, packet)
        if decision.slave is not None:
            self.buckets[packet.flow] = decision.slave, now - now % 32
        return decision

    def charge(self, i: int, now: int, packet: Packet) -> Decision:
        """Account for a packet that the method has not placed."""
        if self.name in VIRTUAL_QUEUES:
            self.busy[i] = self.finish(i, now, packet)
        if self.name == "bw_poll" or (self.name == "bw_load" and not self.keeps_flows()):
            for j in self.among:
                self.credit[j] = int64(self.credit[j] - self.weight[j] * self.unit(packet))
            self.credit[i] += int64(self.unit(packet) * sum(self.weight[j] for j in self.among))
        return Decision(i, now)

    def round_robin(self, now: int, packet: Packet) -> Decision:
        if self.turn == 0 or self.last not in self.among:
            count = len(self.slaves)
            following = [(self.last + 1 + step) % count for step in range(count)]
            self.last = next(i for i in following if i in self.among)
            self.turn = self.parameters.get("packets_per_slave", 1)
        self.turn -= 1
        return Decision(self.last, now)

    def unit(self, packet: Packet) -> int:
        if self.name == "bw_load" and self.keeps_flows():
            return 1
        if self.parameters.get("count") == "packets":
            return 1
        return packet.length + (packet.segments - 1) * packet.header

    def bw_load(self, now: int, packet: Packet) -> Decision:
        unit = self.unit(packet)
        for i in self.among:
            self.credit[i] = int64(self.credit[i] - self.weight[i] * unit)
        chosen = min(self.among, key=lambda i: (self.credit[i], i))
        self.credit[chosen] += int64(unit * sum(self.weight[j] for j in self.among))
        return Decision(chosen, now)

    bw_poll = bw_load

    def takes(self, i: int, packet: Packet) -> int:
        charge = packet.length + (packet.segments - 1) * packet.header
        charge += packet.segments * self.slaves[i].overhead
        bandwidth = self.slaves[i].bandwidth
        per_byte = int64(8 * 10**9 * 2**16) // bandwidth if bandwidth else 0
        return int64(charge * per_byte) // 2**16

    def finish(self, i: int, now: int, packet: Packet) -> int:
        return int64(max(self.busy[i], now) + self.takes(i, packet))

    def bw_lag(self, now: int, packet: Packet) -> Decision:
        chosen = min(self.among, key=lambda i: (max(0, self.busy[i] - now), *self.by_lag(i)))
        self.busy[chosen] = self.finish(chosen, now, packet)
        return Decision(chosen, now)

    def bw_lag_val(self, now: int, packet: Packet) -> Decision:
        arrival = {i: int64(self.finish(i, now, packet) + self.lag(i)) for i in self.among}
        chosen = min(self.among, key=lambda i: (arrival[i], i))
        self.busy[chosen] = self.finish(chosen, now, packet)
        return Decision(chosen, now)

    def longest_lag(self) -> int:
        """Return the longest lag that a slave may have to be used."""
        first = self.always() or self.candidates()
        return min(self.lag(i) for i in first) + int(self.parameters.get("max_hold", 500_000_000))

    def within_hold(self) -> list[int]:
        return [i for i in self.among if self.lag(i) <= self.longest_lag()]

    def waits(self, i: int, now: int) -> bool:
        """Say whether a packet would wait for slave i for longer than queue-limit."""
        return max(self.busy[i] - now, 0) > int(self.parameters.get("queue_limit", 100_000_000))

    def has_room(self, i: int, now: int) -> bool:
        return i in self.within_hold() and not self.waits(i, now)

    def send_first(self, kept: list[int], now: int, packet: Packet) -> Decision:
        """bw_lag_eq: send a packet of a flow, which nothing is held of."""
        free = [i for i in kept or self.within_hold() if not self.waits(i, now)]
        if not free:
            return Decision(None, now, "queue_full")
        chosen = min(free, key=lambda i: (self.finish(i, now, packet) + self.lag(i), i))
        return self.charge(chosen, now, packet)

    def bw_lag_eq(self, now: int, packet: Packet) -> Decision:
        if self.rules.stripe_unit in ("flow", "flowlet"):
            return self.send_first([], now, packet)
        if packet.light:
            free = [i for i in self.among if self.has_room(i, now)]
            if not free:
                return Decision(None, now, "queue_full")
            chosen = min(free, key=lambda i: (self.takes(i, packet) + self.lag(i), i))
            return self.charge(chosen, now, packet)
        chosen = min(self.within_hold(), key=lambda i: (self.finish(i, now, packet), i))
        start = max(self.busy[chosen], now)
        if self.waits(chosen, now):
            return Decision(None, now, "queue_full")
        self.busy[chosen] = self.finish(chosen, now, packet)
        waited_for = [i for i in self.expected if self.slaves[i].use != "when-down"]
        lags = [self.lag(i) for i in self.candidates() + waited_for]
        longest = max(lag for lag in lags if lag <= self.longest_lag())
        return Decision(chosen, int64(start + longest - self.lag(chosen)))

    def duplicate(self, now: int, packet: Packet) -> Decision:
        return self.send_copies(now, packet, self.parameters.get("copies", 2))

    def auto_bw(self, now: int, packet: Packet) -> Decision:
        return Decision(min(self.among, key=lambda i: (packet.queued[i], *self.by_lag(i))), now)


TIMES = [0, 1, 1_200_000, 12_000_000, 10**9]
SLAVES = st.builds(
    SlaveParameters,
    bandwidth=st.sampled_from([1000, 28_800, 10**6, 10**7, 10**12]) | st.integers(1000, 10**12),
    lag=st.sampled_from(TIMES) | st.integers(0, 10**9),
    overhead=st.sampled_from([0, 14, 38]),
)
ORDINARY = [0, 8]
DSCPS = [*ORDINARY, 34, 46]
"""What packets carry; the ordinary ones are of no class."""


def rules_of(stripe_unit: str, overflow_after: int, classes: list[str]) -> Rules:
    """Return rules; ``classes``: the method of the class that has each DSCP, if there is one."""
    light, duplicate = (
        sum(2**dscp for dscp, method in zip(DSCPS, ["", "", *classes], strict=True) if method == of)
        for of in ("bw_lag_val", "duplicate")
    )
    return Rules(stripe_unit, overflow_after, light, duplicate)


USED = st.lists(st.sampled_from(["always", *USES]), min_size=5, max_size=5)
CLASSES = st.lists(st.sampled_from(["", "bw_lag_val", "duplicate"]), min_size=2, max_size=2)
RULES = st.builds(
    rules_of,
    st.sampled_from(["burst", "packet", "flow", "flowlet"]),
    st.sampled_from(TIMES),
    CLASSES,
)
PARAMETERS: dict[str, st.SearchStrategy[int | str]] = {
    "packets_per_slave": st.integers(1, 5),
    "count": st.sampled_from(["bytes", "packets"]),
    "poll_interval": st.sampled_from([10**6, 10**9, 10**13]),
    "queue_limit": st.sampled_from(TIMES),
    "max_hold": st.sampled_from(TIMES),
    "copies": st.integers(1, 4),
}


def some_packet(rng: random.Random, slaves: int) -> Packet:
    queued = tuple(rng.randrange(4) for _ in range(slaves))
    marks = (queued, False, rng.randrange(3), rng.choice(DSCPS))
    if rng.random() < 0.2:
        return replace(Packet(rng.choice([40, 52, 120]), 1, 0, *marks), light=True)
    if rng.random() < 0.7:
        return Packet(rng.choice([40, 1500, 1500, rng.randint(20, 9000)]), 1, 0, *marks)
    return Packet(rng.randint(2000, 65535), rng.randint(2, 128), rng.randint(28, 120), *marks)


def another(rng: random.Random, slave: SlaveParameters) -> SlaveParameters:
    """Return a slave adjusted, perhaps."""
    rate = rng.choice([slave.bandwidth, 1000, 10**7, rng.randint(1000, 10**12)])
    lag = slave.lag if slave.lag is None else rng.choice([slave.lag, *TIMES])
    return replace(slave, bandwidth=rate, lag=lag)


def some_slaves(name: str, data: st.DataObject) -> list[SlaveParameters]:
    """Return slaves; one of them may lack what the method does not need."""
    slaves = data.draw(st.lists(SLAVES, min_size=1, max_size=5))
    if data.draw(st.booleans()):
        uses = data.draw(USED)
        slaves = [replace(slave, use=use) for slave, use in zip(slaves, uses, strict=False)]
    if "lag" not in METHODS[name].needs and data.draw(st.booleans()):
        slaves[0] = replace(slaves[0], lag=None)
    if "bandwidth" not in METHODS[name].needs and data.draw(st.booleans()):
        slaves[0] = replace(slaves[0], bandwidth=0, use="when-down")
    return slaves


@pytest.mark.parametrize("name", METHODS)
@given(data=st.data())
def test_every_decision_is_the_one_the_page_states(name: str, data: st.DataObject) -> None:
    slaves, rules = some_slaves(name, data), data.draw(st.just(PLAIN) | RULES)
    optional = {key: PARAMETERS[key] for key in METHODS[name].parameters}
    parameters = data.draw(st.fixed_dictionaries({}, optional=optional))
    rng = random.Random(data.draw(st.integers()))
    now = data.draw(st.integers(0, 2**58))
    scheduler = create(name, slaves, rules, **parameters)
    oracle = Oracle(name, slaves, rules, parameters)
    for _ in range(data.draw(st.integers(1, 200))):
        event = rng.random()
        if 0.08 <= event < 0.12:
            slaves = [another(rng, slave) for slave in slaves]
            scheduler.adjust(slaves)
            oracle.adjust(slaves)
        elif event < 0.03:
            scheduler.tick(now)
            oracle.tick()
        if event < 0.1:
            mask, expected = rng.randrange(2 ** len(slaves) + 1), rng.randrange(2 ** len(slaves))
            scheduler.set_usable(mask, expected)
            oracle.set_usable(mask, expected)
        now += rng.choice([*TIMES, 10**6]) if rng.random() < 0.5 else 0
        packet = some_packet(rng, len(slaves))
        decision = scheduler.pick(Arrival(now, *astuple(packet)))
        assert decision == oracle.pick(now, packet)
