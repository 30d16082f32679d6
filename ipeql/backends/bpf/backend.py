"""The bpf backend for the reconciler. It has no state: all of it is in the kernel."""

import asyncio
import contextlib
import errno
import json
import os
import time
from collections.abc import Sequence
from ctypes import c_uint32
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ipeql.backends import owned
from ipeql.backends import table as tables
from ipeql.backends.bpf import dataplane, device, layout, libbpf, pins
from ipeql.backends.bpf.dataplane import Dataplane
from ipeql.backends.rates import Rates, Sample
from ipeql.errors import ApplyError, Code, Problem
from ipeql.methods import MAX_SLAVES, METHODS
from ipeql.state import (
    BundleStatistics,
    BundleTable,
    Capabilities,
    ObservedBundle,
    SlaveRow,
    SlaveStatistics,
)

RANK = 20
NUD_VALID = 0xDE
NUD_PERMANENT = 0x80
"""The states in which a neighbour's link-layer address may be used; include/net/neighbour.h."""

LACKS = {
    name: "it cannot hold packets: a redirected one is still accounted to its socket"
    for name, method in METHODS.items()
    if method.holds
} | {
    "packet": "a packet train reaches the program whole",
}

_ZERO = c_uint32(0)


class BpfBackend:
    """One device, its programs and its maps per bundle; they work without us."""

    name = "bpf"

    def __init__(self) -> None:
        self._rates = Rates()

    def capabilities(self) -> Capabilities:
        """Return what the kernel supports: every method that holds no packets."""
        reason = dataplane.unavailable()
        return Capabilities(
            backend=self.name,
            available=not reason,
            methods=frozenset(layout.METHODS),
            stripe_units=frozenset({"burst"}),
            rank=RANK,
            reason=reason,
            lacks=LACKS,
        )

    async def observe(self) -> dict[str, ObservedBundle]:
        """Return the bundles that are pinned.

        A dataplane that is incomplete, of another version or not attached has no table here, so
        ``configure`` replaces it.
        """
        return {
            bundle: ObservedBundle(self.name, known.table if known else None)
            for bundle in pins.pinned()
            for known in (_current(bundle),)
        }

    async def create(self, bundle: str) -> None:
        """Make the device and a dataplane for it, which is attached when it is configured."""
        try:
            await device.create(bundle)
            if not pins.of(bundle).exists():
                pins.put_in_force(bundle, await _load(bundle))
        except (OSError, NetlinkError) as error:
            raise ApplyError(_refused(bundle, error)) from error

    async def configure(self, bundle: str, table: BundleTable) -> None:
        """Activate a slave table in one step, while packets are sent.

        A dataplane of another version, or an incomplete one, works until the new one is configured
        and attached; if that fails, it stays.
        """
        try:
            _check(table)
            if bundle not in pins.pinned():
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            ifindex = await device.create(bundle)
            place = pins.of(bundle)
            whole = _known(bundle)
            if whole is None:
                place = await _load(bundle)
            with Dataplane(place) as running:
                await _configure(running, table)
                running.attach(ifindex)
            if whole is None:
                pins.put_in_force(bundle, place)
        except (OSError, NetlinkError, ValueError, TypeError) as error:
            raise ApplyError(_refused(bundle, error)) from error

    async def destroy(self, bundle: str) -> None:
        """Delete the device and everything that is pinned for it."""
        try:
            await owned.remove(bundle)
            pins.remove(bundle)
        except (OSError, NetlinkError) as error:
            raise ApplyError(_refused(bundle, error)) from error

    async def statistics(self, bundle: str) -> BundleStatistics:
        """Return the counters."""
        try:
            counted, dropped = _counted(bundle)
        except OSError as error:
            raise ApplyError(_refused(bundle, error)) from error
        except (ValueError, LookupError, TypeError) as error:
            unclear = f"{bundle}: bpf: what is pinned cannot be understood"
            help_ = "the next pass makes the dataplane anew"
            raise ApplyError(Problem(Code.INTERNAL, unclear, help_, bundle=bundle)) from error
        rates = self._rates.of(bundle)
        slaves = tuple(
            SlaveStatistics(
                ifindex=row.ifindex,
                name=row.name,
                picks=one.picks,
                packets=one.packets,
                bytes=one.bytes,
                rate=rates.get(row.ifindex, 0),
            )
            for row, one in counted
        )
        return BundleStatistics(slaves, {"no_slave": dropped} if dropped else {})

    async def sample(self) -> bool:
        """Note what every slave has sent; a bundle that cannot be read has no rates."""
        samples = {}
        for bundle in pins.pinned():
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                sent = {row.ifindex: one.bytes for row, one in _counted(bundle)[0]}
                samples[bundle] = Sample(time.monotonic_ns(), sent)
            await asyncio.sleep(0)  # a thousand bundles would take long at one go
        self._rates.update(samples)
        return bool(samples)

    async def close(self) -> None:
        """Do nothing: the bundles do not need us."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What a dataplane says of itself.

    The bundle's ifindex, the version of its programs, the table in force (None before the first),
    and where each slave of that is counted.
    """

    ifindex: int
    version: str
    table: BundleTable | None
    places: Sequence[int]

    def origins(self, table: BundleTable) -> list[int | None]:
        """Return for each slave of ``table`` its index in the active table."""
        rows = self.table.slaves if self.table else ()
        known = {row.ifindex: number for number, row in enumerate(rows)}
        return [known.get(row.ifindex) for row in table.slaves]

    def places_for(self, table: BundleTable) -> list[int]:
        """Return where to count each slave of ``table``: those that stay, where they were."""
        origins = self.origins(table)
        staying = [None if origin is None else self.places[origin] for origin in origins]
        free = iter(
            sorted(set(range(MAX_SLAVES)) - set(self.places))
            + sorted(set(self.places) - set(staying))
        )
        return [next(free) if place is None else place for place in staying]


def _known(bundle: str) -> _Known | None:
    """Return the state of the pinned dataplane of a bundle.

    None: it is incomplete, its device is gone, or another version of IPEQL made it.
    """
    try:
        with Dataplane(pins.of(bundle)) as running:
            known = _read(running)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    current = (known.ifindex, known.version) == (owned.index(bundle), dataplane.version())
    return known if current else None


def _current(bundle: str) -> _Known | None:
    """Return the same; None also if the programs are not attached to the device."""
    known = _known(bundle)
    if known is None:
        return None
    with Dataplane(pins.of(bundle)) as running:
        return known if running.is_attached(known.ifindex) else None


async def _load(bundle: str) -> Path:
    """Load a dataplane for the bundle's device beside the active one; return its directory."""
    place = pins.beside(bundle)
    await asyncio.to_thread(dataplane.load, place)
    with Dataplane(place) as made:
        _write(made, _Known(owned.index(bundle), dataplane.version(), None, ()))
    return place


async def _configure(running: Dataplane, table: BundleTable) -> None:
    before = _read(running)
    places = before.places_for(table)
    wanted = layout.incoming(table, before.origins(table))
    for slave, place in zip(wanted.table.slave, places, strict=False):
        slave.device = _locate(running, slave.ifindex)
        slave.link = await device.link_layer(slave.ifindex)
        slave.counters = place
    wanted.fresh = sum(1 << place for place in set(places) - set(before.places))
    wanted.cpus = libbpf.cpus()
    wanted.table.watched = running.watched
    libbpf.update(running["incoming"], _ZERO, wanted)
    await asyncio.to_thread(libbpf.wait_for_programs)
    libbpf.run(running["configure"], libbpf.SkBuff(), bytes(60))
    await _learn_neighbours(running, [row.ifindex for row in table.slaves])
    _write(running, _Known(before.ifindex, before.version, table, places))


def _read(running: Dataplane) -> _Known:
    text = bytes(libbpf.lookup(running["document"], _ZERO, layout.Document()).text)
    document: dict[str, Any] = json.loads(text.partition(b"\0")[0])
    table = tables.from_json(document["table"]) if document["table"] else None
    return _Known(document["ifindex"], document["version"], table, document["places"])


def _write(running: Dataplane, known: _Known) -> None:
    text = json.dumps(asdict(known), default=str, separators=(",", ":")).encode()
    document = layout.Document()
    document.text[: len(text)] = text
    libbpf.update(running["document"], _ZERO, document)


def _check(table: BundleTable) -> None:
    """Raise ValueError or TypeError if the table does not fit the method."""
    if table.method not in layout.METHODS:
        raise ValueError(f"method {table.method}: {LACKS.get(table.method, 'there is none')}")
    tables.scheduler(table)


def _locate(running: Dataplane, ifindex: int) -> int:
    """Return the address of an interface's net_device; OSError ENODEV where there is none."""
    location = layout.Location(ifindex=ifindex)
    libbpf.run(running["locate"], location)
    if not location.device:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
    return int(location.device)


def _counted(bundle: str) -> tuple[list[tuple[SlaveRow, layout.Counters]], int]:
    """Return each slave of the table in force with its counters, and the bundle's own drops."""
    with Dataplane(pins.of(bundle), ("document", "lanes")) as running:
        known = _read(running)
        lanes = libbpf.lookup_each_cpu(running["lanes"], layout.Lane)
    rows = known.table.slaves if known.table else ()
    counters = (_count(lanes, place) for place in known.places)
    return list(zip(rows, counters, strict=True)), _count(lanes, layout.BUNDLE_COUNTERS).dropped


def _count(lanes: Sequence[layout.Lane], place: int) -> layout.Counters:
    total = layout.Counters()
    for lane in lanes:
        one = lane.counters[place]
        total.picks += one.picks
        total.packets += one.packets
        total.bytes += one.bytes
        total.dropped += one.dropped
    return total


async def _learn_neighbours(running: Dataplane, ifindices: Sequence[int]) -> None:
    """Write the neighbours that were resolved before the dataplane followed them.

    The kernel's table is read twice: a neighbour that was lost between reading and writing is
    removed again. Only permanent neighbours are known not to be checked again by the kernel.
    """
    before: set[tuple[int, str]] = set()
    async with AsyncIPRoute() as kernel:
        for add in (True, False):
            valid = {
                (neighbour["ifindex"], address): neighbour
                async for neighbour in await kernel.neigh("dump")
                if neighbour["state"] & NUD_VALID
                and neighbour["ifindex"] in ifindices
                and (address := neighbour.get("dst"))
            }
            for ifindex, address in valid if add else before - valid.keys():
                hop = layout.Hop(ifindex, 0, layout.next_hop(ip_address(address)))
                if add:
                    found = valid[ifindex, address]
                    fixed = bool(found["state"] & NUD_PERMANENT)
                    known = layout.known(fixed, found.get("lladdr"))
                    with contextlib.suppress(FileExistsError):
                        libbpf.update(running["neighbours"], hop, known, libbpf.BPF_NOEXIST)
                else:
                    libbpf.delete(running["neighbours"], hop)
            before = set(valid)


def _refused(bundle: str, error: Exception) -> Problem:
    helps = {
        errno.EPERM: "run as root, or give the service CAP_NET_ADMIN, CAP_BPF and CAP_PERFMON",
        errno.EBUSY: "choose another name for the bundle",
        errno.EOPNOTSUPP: f"load one of the modules {', '.join(device.KINDS)}",
        errno.ENOENT: "the next pass makes the dataplane anew",
        errno.ENODEV: "a slave's link went away meanwhile; the next pass sees it",
    }
    number = error.code if isinstance(error, NetlinkError) else getattr(error, "errno", 0)
    return Problem(Code.APPLY_FAILED, f"{bundle}: bpf: {error}", helps.get(number, ""))
