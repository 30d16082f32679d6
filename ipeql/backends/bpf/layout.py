"""The structures that user space shares with ``bundle.h``, and their contents for a table."""

from collections.abc import Sequence
from ctypes import Structure, c_int64, c_uint8, c_uint32, c_uint64
from enum import IntEnum, IntFlag
from ipaddress import IPv4Address, IPv6Address

from ipeql.methods import MAX_SLAVES, UNITS
from ipeql.methods import keeps_flows as keeps
from ipeql.methods.bw_lag_eq import MAX_HOLD_NS, QUEUE_LIMIT_NS
from ipeql.methods.duplicate import COPIES, Duplicate
from ipeql.methods.use import reserves
from ipeql.state import BundleTable, SlaveRow

METHODS = (
    "round_robin",
    "bw_load",
    "bw_poll",
    "bw_lag",
    "bw_lag_val",
    "auto_bw",
    "bw_lag_eq",
    "duplicate",
)
"""In the order of ``enum ipeql_method``."""

FLOWS = ("", *UNITS)
"""In the order of ``enum ipeql_flows``."""

DOCUMENT_BYTES = 16384
BUNDLE_COUNTERS = MAX_SLAVES
"""The index of the bundle's own counters in a lane's ``counters``."""

ETH_ALEN = 6


class Path(Structure):
    """struct ipeql_path."""

    _fields_ = (
        ("nspb", c_uint64),
        ("lag", c_uint64),
        ("decay_quotient", c_uint64),
        ("decay_remainder", c_uint64),
        ("weight", c_uint32),
        ("overhead", c_uint32),
    )


class Parameters(Structure):
    """struct ipeql_parameters."""

    _fields_ = (
        ("method", c_uint32),
        ("count", c_uint32),
        ("every", c_uint32),
        ("packets_per_slave", c_uint32),
        ("count_packets", c_uint32),
        ("adjusted", c_uint32),
        *((name, c_uint32) for name in ("when_full", "when_down", "flows", "ruled")),
        *((name, c_uint32) for name in ("copies", "timed")),
        *((name, c_uint64) for name in ("light_dscps", "duplicate_dscps")),
        ("overflow_after", c_uint64),
        ("poll_interval", c_uint64),
        ("queue_limit", c_uint64),
        ("max_hold", c_uint64),
        ("order", c_uint32 * MAX_SLAVES),
        ("path", Path * MAX_SLAVES),
    )


class State(Structure):
    """struct ipeql_state."""

    _fields_ = (
        ("priority", c_int64 * MAX_SLAVES),
        ("busy", c_uint64 * MAX_SLAVES),
        *((name, c_uint64) for name in ("polled", "longest")),
        *((name, c_uint32) for name in ("usable", "among", "expected", "paths")),
        *((name, c_uint32) for name in ("sum", "total", "last", "left")),
        ("adjusted", c_uint32),
    )


class Packet(Structure):
    """struct ipeql_packet."""

    _fields_ = (
        ("now", c_uint64),
        *((name, c_uint32) for name in ("length", "segments", "header", "expected")),
        *((name, c_uint32) for name in ("among", "kept", "dscp", "also")),
        *((name, c_uint64) for name in ("release", "least", "most")),
        *((name, c_uint32) for name in ("best", "light")),
        ("queued", c_uint32 * MAX_SLAVES),
    )


class Link(IntEnum):
    """enum link: how a slave's link layer is addressed."""

    BARE = 0
    FIXED = 1
    NO_NEIGHBOURS = 2
    ETHERNET = 3
    OTHER = 4


class NextHop(Structure):
    """struct address: an IPv4 address is mapped into IPv6. It lies at a multiple of 8."""

    _fields_ = (("octets", c_uint8 * 16),)


class Slave(Structure):
    """struct slave."""

    _fields_ = (
        ("device", c_uint64),
        ("ifindex", c_uint32),
        ("counters", c_uint32),
        ("link", c_uint32),
        ("vias", c_uint32),
        ("via", NextHop * 2),
    )


class Table(Structure):
    """struct table."""

    _fields_ = (
        ("parameters", Parameters),
        ("usable", c_uint32),
        ("watched", c_uint32),
        ("device", c_uint32),
        ("holder", c_uint32),
        ("slave", Slave * MAX_SLAVES),
    )


class Flag(IntFlag):
    """Of struct given: the slave is not usable, and what else is given."""

    OUT = 1
    BANDWIDTH = 2
    LAG = 4


class Given(Structure):
    """struct given."""

    _fields_ = (
        *((name, c_uint32) for name in ("ifindex", "flags", "overhead", "padding")),
        ("bandwidth", c_uint64),
        ("lag", c_uint64),
    )


class Origins(Structure):
    """struct origins."""

    _fields_ = (
        *((name, c_uint64) for name in ("revision", "poll_interval")),
        *((name, c_uint32) for name in ("count", "count_packets")),
        ("configured", Given * MAX_SLAVES),
        ("adjusted", Given * MAX_SLAVES),
    )


class Adjusting(Structure):
    """struct adjusting."""

    _fields_ = (
        ("link", c_uint8 * 16),
        ("revision", c_uint64),
        *((name, c_uint32) for name in ("usable", "timed")),
        ("order", c_uint32 * MAX_SLAVES),
        ("path", Path * MAX_SLAVES),
        ("adjusted", Given * MAX_SLAVES),
    )


class Incoming(Structure):
    """struct incoming."""

    _fields_ = (
        ("table", Table),
        ("origins", Origins),
        ("origin", c_uint32 * MAX_SLAVES),
        ("place", c_uint32 * MAX_SLAVES),
        *((name, c_uint32) for name in ("fresh", "cpus")),
    )


class Counters(Structure):
    """struct counters."""

    _fields_ = tuple((name, c_uint64) for name in ("picks", "packets", "bytes", "dropped", "full"))


class Hop(Structure):
    """struct hop."""

    _fields_ = (("ifindex", c_uint32), ("padding", c_uint32), ("address", NextHop))


class LastHop(Structure):
    """struct last_hop."""

    _fields_ = (
        ("epoch", c_uint64),
        ("ifindex", c_uint32),
        ("any", c_uint32),
        ("destination", NextHop),
        ("next_hop", NextHop),
        ("header", c_uint32 * 3),
        ("padding", c_uint32),
    )


class Held(Structure):
    """struct held."""

    _fields_ = (
        *((name, c_uint64) for name in ("line_free", "due")),
        *((name, c_uint32) for name in ("put", "taken")),
    )


class Serialised(Structure):
    """struct serialised."""

    _fields_ = (
        ("lock", c_uint32),
        ("padding", c_uint32),
        ("state", State * 2),
        ("held", Held * MAX_SLAVES),
    )


class View(Structure):
    """struct view."""

    _fields_ = (
        *((name, NextHop) for name in ("destination", "gateway")),
        *((name, c_uint32) for name in ("ipv6", "protocol", "group", "broadcast")),
        *((name, c_uint32) for name in ("routed", "running", "reachable", "padding")),
    )


class Lane(Structure):
    """struct lane."""

    _fields_ = (
        ("state", State * 2),
        ("packet", Packet),
        ("view", View),
        ("due", c_uint64),
        ("last_hop", LastHop * MAX_SLAVES),
        ("counters", Counters * (MAX_SLAVES + 1)),
    )


class Known(Structure):
    """struct known."""

    _fields_ = (
        ("asked", c_uint64),
        ("lladdr", c_uint8 * ETH_ALEN),
        ("connected", c_uint8),
        ("padding", c_uint8),
    )


class Document(Structure):
    """struct document."""

    _fields_ = (("text", c_uint8 * DOCUMENT_BYTES),)


class Location(Structure):
    """struct location."""

    _fields_ = (("ifindex", c_uint32), ("padding", c_uint32), ("device", c_uint64))


def next_hop(address: IPv4Address | IPv6Address | None) -> NextHop:
    """Return an address as the dataplane writes it, all zeros for none."""
    if address is None:
        return NextHop()
    prefix = b"\0" * 10 + b"\xff\xff" if address.version == 4 else b""
    return NextHop((c_uint8 * 16)(*prefix, *address.packed))


def known(fixed: bool, lladdr: str | None) -> Known:
    """Return a resolved neighbour; ``fixed``: its address is never checked."""
    octets = bytes.fromhex((lladdr or "").replace(":", ""))
    usable = fixed and len(octets) == ETH_ALEN
    return Known(lladdr=(c_uint8 * ETH_ALEN)(*octets[:ETH_ALEN]), connected=usable)


def longest_hold(table: BundleTable) -> int:
    """Return how long a packet may be held, ns, by a table's parameters."""
    given = dict(table.parameters)
    queue_limit, max_hold = given.get("queue_limit"), given.get("max_hold")
    return int(queue_limit or QUEUE_LIMIT_NS) + int(max_hold or MAX_HOLD_NS)


def incoming(table: BundleTable, origins: Sequence[int | None]) -> Incoming:
    """Return ``table`` for the dataplane, as configured; ``adjusting.carry`` is still to be called.

    The slaves' devices, links, counters are still to be set, too. ``origins[i]``: the index slave i
    has in the table in force, None where it is new.
    """
    wanted = Incoming()
    given = dict(table.parameters)
    parameters = wanted.table.parameters
    parameters.method = METHODS.index(table.method)
    parameters.count = wanted.origins.count = len(table.slaves)
    parameters.every = (1 << len(table.slaves)) - 1
    parameters.packets_per_slave = int(given.get("packets_per_slave", 1))
    parameters.count_packets = wanted.origins.count_packets = given.get("count") == "packets"
    parameters.poll_interval = wanted.origins.poll_interval = table.poll_interval
    parameters.queue_limit = int(given.get("queue_limit", QUEUE_LIMIT_NS))
    parameters.max_hold = int(given.get("max_hold", MAX_HOLD_NS))
    resting = reserves(row.use for row in table.slaves)
    parameters.when_full, parameters.when_down = resting.when_full, resting.when_down
    parameters.overflow_after = table.overflow_after
    parameters.copies = int(given.get("copies", COPIES))
    parameters.flows = FLOWS.index(table.stripe_unit) if keeps_flows(table) else 0
    parameters.light_dscps = table.light_dscps
    parameters.duplicate_dscps = table.duplicate_dscps
    classes = table.light_dscps | table.duplicate_dscps
    parameters.ruled = bool(
        resting or parameters.flows or classes or table.method == Duplicate.name
    )
    wanted.place[:] = [MAX_SLAVES] * MAX_SLAVES
    for index, row in enumerate(table.slaves):
        slave = wanted.table.slave[index]
        slave.ifindex = row.ifindex
        for bit, via in enumerate((row.via, row.via6)):
            slave.via[bit] = next_hop(via)
            slave.vias |= (via is not None) << bit
        wanted.origins.configured[index] = _given(row)
        origin = origins[index]
        wanted.origin[index] = MAX_SLAVES if origin is None else origin
        if origin is not None:
            wanted.place[origin] = index
    return wanted


def keeps_flows(table: BundleTable) -> bool:
    """Say whether a table keeps flows to their slaves."""
    return keeps(table.method, table.stripe_unit)


def _given(row: SlaveRow) -> Given:
    flags = Flag.BANDWIDTH * (row.bandwidth > 0) | Flag.LAG * (row.lag is not None)
    flags |= Flag.OUT * (not row.usable)
    return Given(row.ifindex, flags, row.overhead, 0, row.bandwidth, row.lag or 0)
