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

from ipeql.methods import METHODS, Arrival, Decision, SlaveParameters, create


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


class Oracle:
    """docs/methods.md, executed."""

    def __init__(
        self, name: str, slaves: list[SlaveParameters], parameters: dict[str, Any]
    ) -> None:
        self.name, self.slaves, self.parameters = name, slaves, parameters
        self.usable = list(range(len(slaves)))
        self.busy = [0] * len(slaves)
        self.credit = [0] * len(slaves)
        self.last, self.turn = len(slaves) - 1, 0
        self.adjusted = False
        self.weigh()

    def weigh(self) -> None:
        total = sum(slave.bandwidth for slave in self.slaves)
        self.weight = [max(1, each.bandwidth * 2**16 // max(1, total)) for each in self.slaves]

    def by_lag(self, i: int) -> tuple[int, int]:
        ordered = all(slave.lag is not None for slave in self.slaves)
        return (self.slaves[i].lag or 0 if ordered else 0, i)

    def set_usable(self, mask: int) -> None:
        usable = [i for i in range(len(self.slaves)) if mask & 2**i]
        if usable != self.usable:
            self.usable = usable
            if not self.adjusted:
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
            total = sum(self.weight[j] for j in self.usable)
            worth = total * slave.bandwidth * interval // divisor
            before = self.credit[i]
            self.credit[i] = before - min(worth, before) if before > 0 else before
            self.credit[i] += min(worth, -before) if before < 0 else 0

    def pick(self, now: int, packet: Packet) -> Decision:
        self.adjusted = False
        if not self.usable:
            return Decision(None, now, "no_slave")
        return getattr(self, self.name)(now, packet)  # type: ignore[no-any-return]

    def round_robin(self, now: int, packet: Packet) -> Decision:
        if self.turn == 0 or self.last not in self.usable:
            count = len(self.slaves)
            following = [(self.last + 1 + step) % count for step in range(count)]
            self.last = next(i for i in following if i in self.usable)
            self.turn = self.parameters.get("packets_per_slave", 1)
        self.turn -= 1
        return Decision(self.last, now)

    def bw_load(self, now: int, packet: Packet) -> Decision:
        unit = packet.length + (packet.segments - 1) * packet.header
        if self.parameters.get("count") == "packets":
            unit = 1
        for i in self.usable:
            self.credit[i] = int64(self.credit[i] - self.weight[i] * unit)
        chosen = min(self.usable, key=lambda i: (self.credit[i], i))
        self.credit[chosen] += int64(unit * sum(self.weight[j] for j in self.usable))
        return Decision(chosen, now)

    bw_poll = bw_load

    def finish(self, i: int, now: int, packet: Packet) -> int:
        charge = packet.length + (packet.segments - 1) * packet.header
        charge += packet.segments * self.slaves[i].overhead
        per_byte = int64(8 * 10**9 * 2**16) // self.slaves[i].bandwidth
        return int64(max(self.busy[i], now) + int64(charge * per_byte) // 2**16)

    def bw_lag(self, now: int, packet: Packet) -> Decision:
        chosen = min(self.usable, key=lambda i: (max(0, self.busy[i] - now), *self.by_lag(i)))
        self.busy[chosen] = self.finish(chosen, now, packet)
        return Decision(chosen, now)

    def bw_lag_val(self, now: int, packet: Packet) -> Decision:
        arrival = {
            i: int64(self.finish(i, now, packet) + (self.slaves[i].lag or 0)) for i in self.usable
        }
        chosen = min(self.usable, key=lambda i: (arrival[i], i))
        self.busy[chosen] = self.finish(chosen, now, packet)
        return Decision(chosen, now)

    def bw_lag_eq(self, now: int, packet: Packet) -> Decision:
        lag = {i: self.slaves[i].lag or 0 for i in self.usable}
        max_hold = self.parameters.get("max_hold", 500_000_000)
        queue_limit = self.parameters.get("queue_limit", 100_000_000)
        used = [i for i in self.usable if lag[i] - min(lag.values()) <= max_hold]
        if packet.light:
            free = [i for i in used if max(self.busy[i], now) - now <= queue_limit]
            arrival = {i: self.finish(i, now, packet) - max(self.busy[i], now) for i in free}
            if not free:
                return Decision(None, now, "queue_full")
            chosen = min(free, key=lambda i: (arrival[i] + lag[i], i))
            self.busy[chosen] = self.finish(chosen, now, packet)
            return Decision(chosen, now)
        chosen = min(used, key=lambda i: (self.finish(i, now, packet), i))
        start = max(self.busy[chosen], now)
        if start - now > queue_limit:
            return Decision(None, now, "queue_full")
        self.busy[chosen] = self.finish(chosen, now, packet)
        return Decision(chosen, int64(start + max(lag[i] for i in used) - lag[chosen]))

    def duplicate(self, now: int, packet: Packet) -> Decision:
        known = all(slave.bandwidth and slave.lag is not None for slave in self.slaves)
        sooner = {
            i: self.finish(i, now, packet) + (self.slaves[i].lag or 0) if known else 0
            for i in self.usable
        }
        order = sorted(self.usable, key=lambda i: (sooner[i], i))
        copies = order[: self.parameters.get("copies", 2)]
        return Decision(copies[0], now, also=tuple(copies[1:]))

    def auto_bw(self, now: int, packet: Packet) -> Decision:
        return Decision(min(self.usable, key=lambda i: (packet.queued[i], *self.by_lag(i))), now)


TIMES = [0, 1, 1_200_000, 12_000_000, 10**9]
SLAVES = st.builds(
    SlaveParameters,
    bandwidth=st.sampled_from([1000, 28_800, 10**6, 10**7, 10**12]) | st.integers(1000, 10**12),
    lag=st.sampled_from(TIMES) | st.integers(0, 10**9),
    overhead=st.sampled_from([0, 14, 38]),
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
    if rng.random() < 0.2:
        return Packet(rng.choice([40, 52, 120]), queued=queued, light=True)
    if rng.random() < 0.7:
        return Packet(rng.choice([40, 1500, 1500, rng.randint(20, 9000)]), queued=queued)
    return Packet(rng.randint(2000, 65535), rng.randint(2, 128), rng.randint(28, 120), queued)


def another(rng: random.Random, slave: SlaveParameters) -> SlaveParameters:
    """Return a slave adjusted, perhaps."""
    rate = rng.choice([slave.bandwidth, 1000, 10**7, rng.randint(1000, 10**12)])
    lag = slave.lag if slave.lag is None else rng.choice([slave.lag, *TIMES])
    return replace(slave, bandwidth=rate, lag=lag)


@pytest.mark.parametrize("name", METHODS)
@given(data=st.data())
def test_every_decision_is_the_one_the_page_states(name: str, data: st.DataObject) -> None:
    slaves = data.draw(st.lists(SLAVES, min_size=1, max_size=5))
    if "lag" not in METHODS[name].needs and data.draw(st.booleans()):
        slaves[0] = replace(slaves[0], lag=None)
    optional = {key: PARAMETERS[key] for key in METHODS[name].parameters}
    parameters = data.draw(st.fixed_dictionaries({}, optional=optional))
    rng = random.Random(data.draw(st.integers()))
    now = data.draw(st.integers(0, 2**58))
    scheduler, oracle = create(name, slaves, **parameters), Oracle(name, slaves, parameters)
    for _ in range(data.draw(st.integers(1, 200))):
        event = rng.random()
        if event < 0.05:
            mask = rng.randrange(2 ** len(slaves) + 1)
            scheduler.set_usable(mask)
            oracle.set_usable(mask)
        elif event < 0.08:
            scheduler.tick(now)
            oracle.tick()
        elif event < 0.12:
            slaves = [another(rng, slave) for slave in slaves]
            scheduler.adjust(slaves)
            oracle.adjust(slaves)
            if rng.random() < 0.5:
                mask = rng.randrange(2 ** len(slaves) + 1)
                scheduler.set_usable(mask)
                oracle.set_usable(mask)
        now += rng.choice(TIMES) if rng.random() < 0.5 else 0
        packet = some_packet(rng, len(slaves))
        decision = scheduler.pick(Arrival(now, *astuple(packet)))
        assert decision == oracle.pick(now, packet)
