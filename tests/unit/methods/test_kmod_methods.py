"""The kernel module's arithmetic and methods, built for user space, against the reference.

``IPEQL_DECISIONS`` says how many decisions to compare for each method; 20 000 by default.
"""

import os
import random
import shutil
import subprocess
from collections.abc import Sequence
from ctypes import CDLL, Structure, byref, c_bool, c_uint32, c_uint64
from pathlib import Path

import pytest

from ipeql.backends.bpf import layout
from ipeql.backends.bpf.layout import Parameters, State
from ipeql.backends.kmod.family import COUNTS, METHODS
from ipeql.methods import MAX_SLAVES, Arrival, Decision, Scheduler, SlaveParameters, create

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


class Packet(Structure):
    """struct ipeql_packet."""

    _fields_ = (
        ("now", c_uint64),
        *((name, c_uint32) for name in ("length", "segments", "header", "expected")),
        ("release", c_uint64),
        ("least", c_uint64),
        ("finish", c_uint64),
        ("best", c_uint32),
        ("pure_ack", c_uint32),
        ("queued", c_uint32 * MAX_SLAVES),
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
        self._parameters, self._state = Parameters(), State()
        self._known: dict[int, int] = {}
        self._polled = 0

    def configure(
        self,
        method: str,
        slaves: dict[int, SlaveParameters],
        given: dict[str, int | str],
        interval: int,
    ) -> None:
        origins = [self._known.get(number) for number in slaves]
        polled = {"poll_interval": interval} if method == "bw_poll" else {}
        scheduler = create(method, list(slaves.values()), **given, **polled)
        if self._scheduler:
            scheduler.inherit(self._scheduler, origins)
        parameters, state = Parameters(), State()
        parameters.method, parameters.count = METHODS.index(method), len(slaves)
        parameters.packets_per_slave = int(given.get("packets_per_slave", 1))
        parameters.count_packets = COUNTS.index(str(given.get("count", "bytes")))
        parameters.poll_interval = interval
        parameters.queue_limit = int(given.get("queue_limit", 10**8))
        parameters.max_hold = int(given.get("max_hold", 5 * 10**8))
        self._library.derive(byref(parameters), _given(list(slaves.values())))
        places = (MAX_SLAVES if origin is None else origin for origin in origins)
        origin = (c_uint32 * MAX_SLAVES)(*places)
        before, old = byref(self._parameters), byref(self._state)
        self._library.inherit(byref(parameters), byref(state), before, old, origin)
        self._parameters, self._state, self._scheduler = parameters, state, scheduler
        self._known = {number: index for index, number in enumerate(slaves)}
        self._method, self._interval, self._polled = method, interval, 0

    def adjust(self, slaves: dict[int, SlaveParameters]) -> None:
        assert self._scheduler
        self._scheduler.adjust(list(slaves.values()))
        self._library.derive(byref(self._parameters), _given(list(slaves.values())))
        self._parameters.adjusted += 1

    def decide(
        self, packet: Packet, usable: int, queued: Sequence[int]
    ) -> tuple[Decision, Decision]:
        """Return the decisions of both."""
        scheduler = self._scheduler
        assert scheduler
        scheduler.set_usable(usable, packet.expected)
        if usable & ((1 << len(self._known)) - 1):
            self._tick(packet.now)
        size = packet.length, packet.segments, packet.header
        wanted = scheduler.pick(Arrival(packet.now, *size, list(queued), bool(packet.pure_ack)))
        packet.queued[:] = queued
        parameters, state = byref(self._parameters), byref(self._state)
        found = self._library.pick(parameters, state, usable, byref(packet))
        if reason := REASONS.get(found):
            return wanted, Decision(None, packet.now, reason)
        return wanted, Decision(found, packet.release)

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


def slaves(dice: random.Random, method: str, numbers: list[int]) -> dict[int, SlaveParameters]:
    with_lag = method in WITH_LAG or dice.random() < 0.5
    rates = (1000, 28_800, 10**6, 10**9, dice.randint(1000, 10**11))
    return {
        number: SlaveParameters(
            bandwidth=dice.choice(rates) if method in WITH_BANDWIDTH else 0,
            lag=dice.choice((0, 5 * 10**6, dice.randint(0, 10**9))) if with_lag else None,
            overhead=dice.choice((0, 14, 38)),
        )
        for number in numbers
    }


def parameters(dice: random.Random, method: str) -> dict[str, int | str]:
    if method == "round_robin":
        return {"packets_per_slave": dice.choice((1, 1, 2, 7))}
    if method in ("bw_load", "bw_poll"):
        return {"count": dice.choice(COUNTS)}
    if method == "bw_lag_eq":
        times = (0, 10**6, 10**8, dice.randint(0, 10**9))
        return {"queue_limit": dice.choice(times), "max_hold": dice.choice(times)}
    return {}


def packet(dice: random.Random, method: str, now: int) -> Packet:
    segments = dice.choice((1, 1, 1, 2, 3, 17, 45))
    header = dice.randint(28, 100) if segments > 1 else 0
    length = dice.choice((20, 64, 500, 1500, dice.randint(20, 65535)))
    waits = method == "bw_lag_eq" and dice.random() < 0.1
    expected = dice.getrandbits(32) if waits else 0
    pure_ack = segments == 1 and dice.random() < 0.3
    size = {"length": length, "segments": segments, "header": header}
    return Packet(now=now, **size, expected=expected, pure_ack=pure_ack)


@pytest.mark.parametrize("method", METHODS)
def test_every_decision_is_the_reference_s(library: CDLL, method: str) -> None:
    dice = random.Random(f"{SEED} {method}")
    twins, now, usable, numbers = Twins(library), 10**12, 0xFFFFFFFF, [1]
    for number in range(DECISIONS):
        if number == 0 or dice.random() < 1 / CHANGES:
            numbers = dice.sample(range(1, 41), dice.choice((0, 1, 2, 2, 3, 8, 32)))
            interval = dice.choice((10**9, 10**6, dice.randint(10**6, 10**10)))
            for each in (dice.choice(METHODS), method):
                given = parameters(dice, each)
                twins.configure(each, slaves(dice, each, numbers), given, interval)
        elif dice.random() < 1 / 20:
            twins.adjust(slaves(dice, method, numbers))
        if dice.random() < 1 / 50:
            usable = dice.choice((0xFFFFFFFF, 0xFFFFFFFF, dice.getrandbits(32)))
        now += dice.choice((0, 1, 1000, 10**5, dice.randint(0, 10**9)))
        queued = [dice.randint(0, 9) for _ in range(MAX_SLAVES)]
        wanted, found = twins.decide(packet(dice, method, now), usable, queued)
        assert found == wanted, f"decision {number}"
