"""The striping methods in C against the reference, packet by packet, in the kernel itself.

``IPEQL_DECISIONS`` says how many decisions to compare for each method; 20 000 by default.
"""

import os
import random
from collections.abc import Iterator
from ctypes import Structure, c_uint32, sizeof
from dataclasses import dataclass
from pathlib import Path
from struct import pack

import pytest

from ipeql.backends.bpf import adjusting, dataplane, flows, layout
from ipeql.backends.ebpf import libbpf
from ipeql.backends.table import adjusted, kept, scheduler, slave_parameters
from ipeql.backends.tun.worker.flow import dscp_of
from ipeql.backends.tun.worker.light import is_light
from ipeql.methods import BUCKETS, MAX_SLAVES, METHODS, UNITS, USES, Arrival, Decision, Scheduler
from ipeql.state import BundleTable, SlaveRow
from ipeql.state.path import Adjusted

DECISIONS = int(os.environ.get("IPEQL_DECISIONS", "20000"))
SEED = 1998
CHANGES = 200
"""Packets between two reconfigurations, on average."""

_OUTCOMES = {
    MAX_SLAVES: (None, 0, "no_slave"),
    MAX_SLAVES + 1: (None, 0, "queue_full"),
}
"""What the program says where it chooses no slave."""

pytestmark = [pytest.mark.netns, pytest.mark.timeout(120 + DECISIONS // 1000)]


@pytest.fixture(scope="module")
def program() -> Iterator[libbpf.Object]:
    if reason := dataplane.unavailable():
        pytest.skip(reason)
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})  # every CPU has a state of its own
    try:
        with libbpf.Object(dataplane.OBJECT, True, dataplane.left_out()) as program:
            yield program
    finally:
        os.sched_setaffinity(0, cpus)


@dataclass
class Packet:
    data: bytes
    segments: int
    header: int

    @property
    def length(self) -> int:
        return len(self.data) - 14

    @property
    def dscp(self) -> int:
        return dscp_of(self.data[14:])

    @property
    def light(self) -> bool:
        return self.segments == 1 and is_light(self.data[14:])


def packet(dice: random.Random) -> Packet:
    """Return a frame of IPv4 or IPv6, UDP, TCP or ICMP, of any size, perhaps a train."""
    tcp, v6 = dice.random() < 0.5, dice.random() < 0.3
    segments = dice.choice((1, 1, 1, 2, 3, 17, 45))
    echoes = not tcp and segments == 1 and dice.random() < 0.5
    dscp = dice.choice((0, 46, dice.randrange(64)))
    words = dice.randint(5, 15)
    flags = dice.choice((16, 16, 16, 24, 17, 18, 4))
    transport = bytes(12) + bytes([words << 4, flags]) + bytes(words * 4 - 14) if tcp else bytes(8)
    payload = bytes(dice.choice((0, 0, 1, 64, 500, 1400, dice.randint(0, 1400))))
    protocol = 6 if tcp else 17
    if echoes:
        protocol = 58 if v6 else 1
        transport = bytes([dice.choice((0, 8, 3, 128, 129, 130))]) + bytes(7)
    if v6:
        first, more = extensions(dice, protocol) if segments == 1 else (protocol, b"")
        size = len(more + transport + payload)
        header = pack("!IHBB16s16s", 6 << 28 | dscp << 22, size, first, 64, b"1", b"2") + more
    else:
        options = dice.randint(0, 10)
        total = 20 + options * 4 + len(transport + payload)
        fragment = dice.choice((0, 0, 0, 0x4000, 0x2000, 185)) if segments == 1 else 0
        fields = (0x45 + options, dscp << 2, total, 0, fragment, 64, protocol, 0)
        header = pack("!BBHHHBBH4s4s", *fields, b"\x0a\0\0\1", b"\x0a\0\0\2") + bytes(options * 4)
    ether = bytes(12) + (b"\x86\xdd" if v6 else b"\x08\x00")
    repeated = len(header + transport) if segments > 1 else 0
    return Packet(ether + header + transport + payload, segments, repeated)


def extensions(dice: random.Random, protocol: int) -> tuple[int, bytes]:
    """Return up to two extension headers of IPv6, and which one is the first."""
    found = b""
    for _ in range(dice.choice((0, 0, 1, 2))):
        length = dice.randint(0, 2)
        found = bytes([protocol, length]) + bytes(6 + length * 8) + found
        protocol = dice.choice((0, 43, 60, 44))
    return protocol, found


def parameters(dice: random.Random, method: str) -> tuple[tuple[str, int | str], ...]:
    if method == "round_robin":
        return (("packets_per_slave", dice.choice((1, 1, 2, 7))),)
    if method in ("bw_load", "bw_poll"):
        return (("count", dice.choice(("bytes", "packets"))),)
    if method == "bw_lag_eq" and dice.random() < 0.8:
        limit, hold = (dice.choice((0, 10**8, dice.randint(0, 10**9))) for _ in range(2))
        return (("max_hold", hold), ("queue_limit", limit))
    if method == "duplicate":
        return (("copies", dice.choice((1, 2, 2, 3, 8))),)
    return ()


def table(dice: random.Random, method: str, ifindices: list[int], ruled: bool) -> BundleTable:
    with_lag = method in ("bw_lag_val", "bw_lag_eq") or dice.random() < 0.5
    rows = tuple(
        SlaveRow(
            ifindex=ifindex,
            name=f"s{ifindex}",
            bandwidth=dice.choice((1000, 28_800, 10**6, 10**9, dice.randint(1000, 10**11))),
            lag=dice.choice((0, 5 * 10**6, dice.randint(0, 10**9))) if with_lag else None,
            overhead=dice.choice((0, 14, 38)),
            usable=dice.random() < 0.9,
            use=dice.choice((*USES, "always")) if ruled else "always",
        )
        for ifindex in ifindices
    )
    unit = dice.choice(("burst", *UNITS)) if ruled else "burst"
    overflow = dice.choice((0, 10**6, 2 * 10**7, dice.randint(0, 10**9)))
    interval = dice.choice((10**9, 10**6, dice.randint(10**6, 10**10)))
    light = dice.getrandbits(64) & dice.getrandbits(64) if ruled else 0
    return BundleTable(
        method,
        parameters(dice, method),
        unit,
        interval,
        rows,
        overflow_after=overflow,
        light_dscps=light,
        duplicate_dscps=dice.choice((0, 1 << 46, dice.getrandbits(64))) & ~light if ruled else 0,
    )


def adjustments(dice: random.Random, ifindices: list[int], with_lag: bool) -> dict[int, Adjusted]:
    """Return adjustments of some slaves, and of an ifindex that is none."""
    return {
        ifindex: Adjusted(
            usable=dice.random() < 0.8,
            bandwidth=dice.choice((None, 1000, 10**8, dice.randint(1000, 10**11))),
            lag=dice.choice((None, 0, dice.randint(0, 10**9))) if with_lag else None,
        )
        for ifindex in dice.sample([*ifindices, 99], dice.randint(0, len(ifindices)))
    }


class Twins:
    """The reference and the program, given the same."""

    def __init__(self, program: libbpf.Object) -> None:
        self._program = program
        self._scheduler: Scheduler | None = None
        self._table: BundleTable | None = None
        self._adjustments: dict[int, Adjusted] = {}
        self._polled = 0
        self._count = 0
        self.configure(BundleTable("round_robin"))  # so that no slave stays from another test

    def configure(self, table: BundleTable) -> None:
        known = {row.ifindex: i for i, row in enumerate(self._table.slaves if self._table else ())}
        origins = [known.get(row.ifindex) for row in table.slaves]
        reference = scheduler(table)
        if self._scheduler:
            reference.inherit(self._scheduler, origins)
        staying = [row.ifindex for row in table.slaves if row.ifindex in known]
        self._adjustments = kept(self._adjustments, staying)
        self._scheduler, self._table, self._polled = reference, table, 0
        wanted = layout.incoming(table, origins)
        adjusting.carry(wanted, self._origins())
        rows = self._adjusted().slaves
        reference.adjust([slave_parameters(row) for row in rows])
        if layout.keeps_flows(table) and not flows.are_kept(self._program.map("flows")):
            flows.keep(self._program.map("flows"))
        wanted.cpus = libbpf.cpus()
        libbpf.update(self._program.map("incoming"), c_uint32(0), wanted)
        assert not libbpf.run(self._program.program("configure"), libbpf.SkBuff(), bytes(60))
        if not layout.keeps_flows(table):
            flows.forget(self._program.map("flows"))

    def adjust(self, adjustments: dict[int, Adjusted]) -> None:
        assert self._scheduler and self._table
        self._adjustments = kept(adjustments, (row.ifindex for row in self._table.slaves))
        self._scheduler.adjust([slave_parameters(row) for row in self._adjusted().slaves])
        wanted = bytes(adjusting.adjusting(self._origins(), adjustments))
        assert not libbpf.run(self._program.program("adjust"), libbpf.SkBuff(), wanted)
        assert libbpf.run(self._program.program("adjust"), libbpf.SkBuff(), wanted), "a stale one"

    def _adjusted(self) -> BundleTable:
        assert self._table
        return adjusted(self._table, self._adjustments)

    def _origins(self) -> layout.Origins:
        return libbpf.lookup(self._program.map("origins"), c_uint32(0), layout.Origins())

    def compare(self, now: int, mask: int, packet: Packet, queued: int, flow: int) -> None:
        """Let both decide; ``queued`` has 4 bits a slave, ``flow`` is the packet's bucket."""
        assert self._scheduler and self._table
        usable = sum(1 << i for i, row in enumerate(self._adjusted().slaves) if row.usable)
        self._scheduler.set_usable(mask & usable)
        if mask & usable:
            self._poll(now)
        lengths = [queued >> 4 * slave & 15 for slave in range(MAX_SLAVES)]
        wanted = self._scheduler.pick(
            Arrival(
                *(now, packet.length, packet.segments, packet.header),
                *(lengths, packet.light, flow, packet.dscp),
            )
        )
        wanted = wanted._replace(also=tuple(sorted(wanted.also)))
        context = libbpf.SkBuff(tstamp=now, gso_segs=packet.segments, mark=flow)
        context.cb[0] = mask
        for word in range(4):
            context.cb[1 + word] = queued >> 32 * word & 0xFFFFFFFF
        libbpf.run(self._program.program("stripe"), context, packet.data)
        self._count += 1
        found = Decision(*_OUTCOMES.get(context.cb[0], (context.cb[0], context.tstamp, "")))
        if found.slave is None or not self._scheduler.holds:
            found = found._replace(release=wanted.release)
        also = context.cb[1] if found.slave is not None else 0
        copies = tuple(i for i in range(MAX_SLAVES) if also >> i & 1)
        found = found._replace(also=copies)
        assert found == wanted, f"decision {self._count}: {packet}, {self._table}"

    def _poll(self, now: int) -> None:
        assert self._scheduler and self._table
        if self._table.method != "bw_poll":
            return
        self._polled = self._polled or now
        due = (now - self._polled) // self._table.poll_interval
        for _ in range(due):
            self._scheduler.tick(now)
        self._polled += due * self._table.poll_interval


@pytest.mark.parametrize("ruled", [False, True], ids=["plain", "ruled"])
@pytest.mark.parametrize("method", layout.METHODS)
def test_every_decision_is_the_reference_s(
    program: libbpf.Object, method: str, ruled: bool
) -> None:
    assert method in METHODS
    dice = random.Random(f"{SEED} {method} {ruled}")
    twins, now, mask, ifindices = Twins(program), 10**12, 0xFFFFFFFF, [1]
    packets = [packet(dice) for _ in range(500)]
    for number in range(DECISIONS):
        if number == 0 or dice.random() < 1 / CHANGES:
            ifindices = dice.sample(range(1, 41), dice.choice((0, 1, 2, 2, 3, 8, 32)))
            kept = method if dice.random() < 0.8 else dice.choice(layout.METHODS)
            twins.configure(table(dice, kept, ifindices, ruled))
            if kept != method:
                twins.configure(table(dice, method, ifindices, ruled))
        elif dice.random() < 1 / CHANGES:
            dice.shuffle(ifindices)
            left = ifindices[: dice.randint(0, len(ifindices))]
            twins.configure(table(dice, method, left, ruled))
        elif dice.random() < 1 / 20:
            twins.adjust(adjustments(dice, ifindices, dice.random() < 0.8))
        if dice.random() < 1 / 50:
            mask = dice.choice((0xFFFFFFFF, 0xFFFFFFFF, dice.getrandbits(32)))
        now += dice.choice((0, 1, 1000, 10**5, dice.randint(0, 10**9)))
        flow = dice.choice((1, 2, dice.randrange(9), dice.randrange(BUCKETS)))
        twins.compare(now, mask, dice.choice(packets), dice.getrandbits(128), flow)


@pytest.mark.parametrize("method", ["bw_load", "bw_poll"])
def test_shares_begin_anew_with_a_table_that_is_adjusted_before_its_first_packet(
    program: libbpf.Object, method: str
) -> None:
    twins, dice, ifindices = Twins(program), random.Random(SEED), [1, 2]
    sizes = [packet(dice) for _ in range(20)]
    for _ in range(2):  # the dataplane keeps two states in turn
        for seconds in (2, 1):
            rows = tuple(SlaveRow(i, f"s{i}", bandwidth=i * 10**6) for i in ifindices)
            twins.configure(BundleTable(method, poll_interval=seconds * 10**9, slaves=rows))
            twins.adjust({1: Adjusted(bandwidth=3 * 10**6)})
            for number, each in enumerate(sizes):
                twins.compare(10**12 + number, 3, each, 0, 0)


KERNEL = Path(__file__).parents[3] / "kernel"


def test_object_is_built_from_these_sources() -> None:
    if not dataplane.OBJECT.exists():
        pytest.skip(dataplane.unavailable())
    newest = max(path.stat().st_mtime for path in (*KERNEL.glob("*.h"), *KERNEL.glob("bpf/*.[ch]")))
    assert newest <= dataplane.OBJECT.stat().st_mtime


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lanes", layout.Lane),
        ("serialised", layout.Serialised),
        ("incoming", layout.Incoming),
        ("origins", layout.Origins),
        ("neighbours", layout.Known),
        ("document", layout.Document),
    ],
)
def test_user_space_and_programs_agree_on_the_maps(
    program: libbpf.Object, name: str, value: type[Structure]
) -> None:
    shown = Path(f"/proc/self/fdinfo/{program.map(name)}").read_text()
    assert f"value_size:\t{sizeof(value)}\n" in shown
