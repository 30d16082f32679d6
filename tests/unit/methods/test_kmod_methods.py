"""The kernel module's arithmetic and methods, built for user space, against the reference.

``IPEQL_DECISIONS`` says how many decisions to compare for each method; 20 000 by default.
"""

import os
import random
import shutil
import subprocess
from collections.abc import Sequence
from ctypes import CDLL, Array, Structure, byref, c_bool, c_uint32, c_uint64
from pathlib import Path

import pytest

from ipeql.backends.bpf import layout
from ipeql.backends.bpf.layout import Packet, Parameters, State
from ipeql.backends.kmod.family import COUNTS, METHODS
from ipeql.methods import (
    BUCKETS,
    MAX_SLAVES,
    PLAIN,
    UNITS,
    USES,
    Arrival,
    Decision,
    Rules,
    Scheduler,
    SlaveParameters,
    create,
    keeps_flows,
)
from ipeql.methods.use import reserves

KERNEL = Path(__file__).parent / "kernel"
METHODS_H = Path(__file__).parents[3] / "kernel" / "ipeql_methods.h"
DECISIONS = int(os.environ.get("IPEQL_DECISIONS", "20000"))
SEED = 1998
CHANGES = 200
"""Packets between two reconfigurations, on average."""

pytestmark = pytest.mark.timeout(120 + DECISIONS // 1000)

REASONS = {MAX_SLAVES: "no_slave", MAX_SLAVES + 1: "queue_full"}
WITH_BANDWIDTH = {name for name in METHODS if name.startswith("bw_")}
WITH_LAG = {"bw_lag_val", "bw_lag_eq"}


class Given(Structure):
    """struct ipeql_given of kernel/module/derive.h."""

    _fields_ = (
        ("bandwidth", c_uint64),
        ("has_lag", c_bool),
        ("path", layout.Path),
    )


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> CDLL:
    compiler = shutil.which("cc") or shutil.which("clang")
    if not compiler:
        pytest.skip("needs a C compiler: apt install clang")
    built = tmp_path_factory.mktemp("kmod") / "methods.so"
    source = KERNEL / "methods.c"
    options = ("-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-I", KERNEL, "-I", METHODS_H.parent)
    subprocess.run([compiler, *options, "-o", built, source], check=True, timeout=60)
    return CDLL(str(built))


class Twins:
    """The reference and the library, given the same. Slaves are known by a number that stays."""

    def __init__(self, library: CDLL) -> None:
        self._library = library
        self._scheduler: Scheduler | None = None
        self._parameters, self._state, self._shared = Parameters(), State(), State()
        self._buckets: Array[c_uint64] = (c_uint64 * BUCKETS)()
        self._known: dict[int, int] = {}
        self._polled = 0

    def configure(
        self,
        method: str,
        slaves: dict[int, SlaveParameters],
        given: dict[str, int | str],
        interval: int,
        rules: Rules = PLAIN,
    ) -> None:
        origins = [self._known.get(number) for number in slaves]
        polled = {"poll_interval": interval} if method == "bw_poll" else {}
        scheduler = create(method, list(slaves.values()), rules, **given, **polled)
        if self._scheduler:
            scheduler.inherit(self._scheduler, origins)
        parameters, state = Parameters(), State()
        parameters.method, parameters.count = METHODS.index(method), len(slaves)
        parameters.packets_per_slave = int(given.get("packets_per_slave", 1))
        parameters.count_packets = COUNTS.index(str(given.get("count", "bytes")))
        parameters.poll_interval = interval
        parameters.queue_limit = int(given.get("queue_limit", 10**8))
        parameters.max_hold = int(given.get("max_hold", 5 * 10**8))
        resting = reserves(slave.use for slave in slaves.values())
        parameters.when_full, parameters.when_down = resting.when_full, resting.when_down
        parameters.overflow_after = rules.overflow_after
        parameters.light_dscps = rules.light_dscps
        parameters.duplicate_dscps = rules.duplicate_dscps
        parameters.copies = int(given.get("copies", 2))
        if keeps_flows(method, rules.stripe_unit):
            parameters.flows = UNITS.index(rules.stripe_unit) + 1
        self._library.derive(byref(parameters), _given(list(slaves.values())))
        places = (MAX_SLAVES if origin is None else origin for origin in origins)
        origin = (c_uint32 * MAX_SLAVES)(*places)
        before, old = byref(self._parameters), byref(self._state)
        self._library.inherit(byref(parameters), byref(state), before, old, origin)
        self._shared = State()
        if parameters.flows and self._parameters.flows:
            self._library.move(byref(parameters), self._buckets, origin)
        else:
            self._buckets = (c_uint64 * BUCKETS)()
        self._parameters, self._state, self._scheduler = parameters, state, scheduler
        self._known = {number: index for index, number in enumerate(slaves)}
        self._method, self._interval, self._polled = method, interval, 0

    def adjust(self, slaves: dict[int, SlaveParameters]) -> None:
        assert self._scheduler
        self._scheduler.adjust(list(slaves.values()))
        self._library.derive(byref(self._parameters), _given(list(slaves.values())))
        self._parameters.adjusted += 1

    def decide(
        self, packet: Packet, usable: int, queued: Sequence[int], flow: int
    ) -> tuple[Decision, Decision]:
        """Return the decisions of both."""
        scheduler = self._scheduler
        assert scheduler
        scheduler.set_usable(usable, packet.expected)
        if usable & ((1 << len(self._known)) - 1):
            self._tick(packet.now)
        size = packet.length, packet.segments, packet.header
        wanted = scheduler.pick(
            Arrival(packet.now, *size, list(queued), bool(packet.light), flow, packet.dscp)
        )
        packet.queued[:] = queued
        parameters, state = byref(self._parameters), byref(self._state)
        queues = state if scheduler.has_queues else byref(self._shared)
        bucket = None
        if self._parameters.flows:
            bucket = byref(self._buckets, flow * 8)
        found = self._library.place(parameters, state, queues, bucket, usable, byref(packet))
        if reason := REASONS.get(found):
            return wanted, Decision(None, packet.now, reason)
        also = packet.also if self._parameters.ruled else 0
        copies = tuple(i for i in range(MAX_SLAVES) if also >> i & 1)
        wanted = wanted._replace(also=tuple(sorted(wanted.also)))
        return wanted, Decision(found, packet.release, also=copies)

    def _tick(self, now: int) -> None:
        if self._method != "bw_poll":
            return
        assert self._scheduler
        self._polled = self._polled or now
        due = (now - self._polled) // self._interval
        for _ in range(due):
            self._scheduler.tick(now)
        self._polled += due * self._interval


def _given(slaves: Sequence[SlaveParameters]) -> object:
    given = (Given * MAX_SLAVES)()
    for row, slave in zip(given, slaves, strict=False):
        row.bandwidth, row.has_lag = slave.bandwidth, slave.lag is not None
        row.path.lag, row.path.overhead = slave.lag or 0, slave.overhead
    return given


def slaves(
    dice: random.Random, method: str, numbers: list[int], uses: Sequence[str] = ()
) -> dict[int, SlaveParameters]:
    """Return slaves for a method; ``uses``: the value of ``use`` of each, none: all always."""
    with_lag = method in WITH_LAG or dice.random() < 0.5
    with_bandwidth = method in WITH_BANDWIDTH or "when-full" in uses or dice.random() < 0.5
    rates = (1000, 28_800, 10**6, 10**9, dice.randint(1000, 10**11))
    return {
        number: SlaveParameters(
            bandwidth=dice.choice(rates) if with_bandwidth else 0,
            lag=dice.choice((0, 5 * 10**6, dice.randint(0, 10**9))) if with_lag else None,
            overhead=dice.choice((0, 14, 38)),
            use=uses[index] if uses else "always",
        )
        for index, number in enumerate(numbers)
    }


def parameters(dice: random.Random, method: str) -> dict[str, int | str]:
    if method == "round_robin":
        return {"packets_per_slave": dice.choice((1, 1, 2, 7))}
    if method in ("bw_load", "bw_poll"):
        return {"count": dice.choice(COUNTS)}
    if method == "bw_lag_eq":
        times = (0, 10**6, 10**8, dice.randint(0, 10**9))
        return {"queue_limit": dice.choice(times), "max_hold": dice.choice(times)}
    if method == "duplicate":
        return {"copies": dice.choice((1, 2, 2, 3, 8))}
    return {}


def packet(dice: random.Random, now: int) -> Packet:
    segments = dice.choice((1, 1, 1, 2, 3, 17, 45))
    header = dice.randint(28, 100) if segments > 1 else 0
    length = dice.choice((20, 64, 500, 1500, dice.randint(20, 65535)))
    expected = dice.getrandbits(32) if dice.random() < 0.1 else 0
    light = segments == 1 and dice.random() < 0.3
    size = {"length": length, "segments": segments, "header": header}
    dscp = dice.randrange(64)
    return Packet(now=now, **size, expected=expected, light=light, dscp=dscp)


def some_uses(dice: random.Random, count: int) -> list[str]:
    return [dice.choice((*USES, "always")) for _ in range(count)]


def some_rules(dice: random.Random) -> Rules:
    overflow_after = dice.choice((0, 10**6, 2 * 10**7, dice.randint(0, 10**9)))
    light = dice.choice((0, dice.getrandbits(64) & dice.getrandbits(64)))
    duplicate = dice.choice((0, dice.getrandbits(64) & dice.getrandbits(64))) & ~light
    return Rules(dice.choice(("burst", *UNITS)), overflow_after, light, duplicate)


@pytest.mark.parametrize("ruled", [False, True], ids=["plain", "ruled"])
@pytest.mark.parametrize("method", METHODS)
def test_every_decision_is_the_reference_s(library: CDLL, method: str, ruled: bool) -> None:
    dice = random.Random(f"{SEED} {method} {ruled}")
    twins, now, usable, numbers = Twins(library), 10**12, 0xFFFFFFFF, [1]
    uses: list[str] = []
    for number in range(DECISIONS):
        if number == 0 or dice.random() < 1 / CHANGES:
            numbers = dice.sample(range(1, 41), dice.choice((0, 1, 2, 2, 3, 8, 32)))
            interval = dice.choice((10**9, 10**6, dice.randint(10**6, 10**10)))
            uses = some_uses(dice, len(numbers)) if ruled else []
            rules = some_rules(dice) if ruled else PLAIN
            for each in (dice.choice(METHODS), method):
                given = parameters(dice, each)
                twins.configure(each, slaves(dice, each, numbers, uses), given, interval, rules)
        elif dice.random() < 1 / 20:
            twins.adjust(slaves(dice, method, numbers, uses))
        if dice.random() < 1 / 50:
            usable = dice.choice((0xFFFFFFFF, 0xFFFFFFFF, dice.getrandbits(32)))
        now += dice.choice((0, 1, 1000, 10**5, dice.randint(0, 10**9)))
        queued = [dice.randint(0, 9) for _ in range(MAX_SLAVES)]
        flow = dice.choice((1, 2, dice.randrange(9), dice.randrange(BUCKETS)))
        wanted, found = twins.decide(packet(dice, now), usable, queued, flow)
        assert found == wanted, f"decision {number}"
