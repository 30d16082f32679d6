"""The bpf backend for the reconciler. It has no state: all of it is in the kernel."""

import asyncio
import contextlib
import errno
import os
import time
from collections.abc import Sequence
from ctypes import c_uint32
from ipaddress import ip_address
from pathlib import Path

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ipeql.backends import owned, upper
from ipeql.backends import table as tables
from ipeql.backends.bpf import dataplane, device, flows, holder, layout, next_hops
from ipeql.backends.bpf.adjuster import Adjusters, put_in_force
from ipeql.backends.bpf.dataplane import Dataplane
from ipeql.backends.bpf.known import Known, read, write
from ipeql.backends.ebpf import libbpf, pins
from ipeql.backends.ebpf.loading import load_beside
from ipeql.backends.rates import Rates, Sample
from ipeql.backends.receive import receiver
from ipeql.errors import ApplyError, Code, Problem
from ipeql.methods import METHODS, UNITS
from ipeql.state import (
    BundleStatistics,
    BundleTable,
    Capabilities,
    ObservedBundle,
    Receiver,
    SlaveRow,
    SlaveStatistics,
)
from ipeql.state.path import Adjustments

RANK = 20
NUD_VALID = 0xDE
NUD_PERMANENT = 0x80
"""The states in which a neighbour's link-layer address may be used; include/net/neighbour.h."""

WHOLE = "a packet train reaches the program whole"

MARGIN_NS = 2 * 10**8
"""A packet may leave so much later than it is due, on a busy machine."""

_HOLDING = tuple(name for name, method in METHODS.items() if method.holds)
_ZERO = c_uint32(0)


class BpfBackend:
    """One device, its programs and its maps per bundle; they work without us."""

    name = "bpf"

    def __init__(self) -> None:
        self._rates = Rates()
        self._adjusters = Adjusters()

    def capabilities(self) -> Capabilities:
        """Return what the kernel supports."""
        reason = dataplane.unavailable()
        lack = "" if reason else holder.lack()
        lacks = dict.fromkeys(_HOLDING, lack) if lack else {}
        return receiver.able(
            Capabilities(
                backend=self.name,
                available=not reason,
                methods=frozenset(layout.METHODS) - lacks.keys(),
                stripe_units=frozenset({"burst", *UNITS}),
                rank=RANK,
                reason=reason,
                lacks={"packet": WHOLE, **lacks},
            )
        )

    async def observe(self) -> dict[str, ObservedBundle]:
        """Return the bundles that are pinned.

        A dataplane that is incomplete, of another version or not attached has no table here, so
        ``configure`` replaces it.
        """
        return {
            bundle: ObservedBundle(
                self.name, known.table if known else None, receiver=await receiver.observe(bundle)
            )
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
                await _configure(bundle, running, table)
                running.attach(dataplane.DEVICE, ifindex)
            if whole is None:
                pins.put_in_force(bundle, place)
        except (OSError, NetlinkError, ValueError, TypeError) as error:
            raise ApplyError(_refused(bundle, error)) from error

    async def adjust(self, bundle: str, adjustments: Adjustments) -> None:
        """Adjust the table in force, in one step: tens of microseconds, and nothing is loaded."""
        try:
            await self._adjusters.of(bundle).adjust(adjustments)
        except (OSError, ValueError) as error:
            raise ApplyError(_refused(bundle, error)) from error

    async def receive(self, bundle: str, wanted: Receiver | None) -> None:
        """Tell the receiving program what belongs to the bundle; None: remove it."""
        try:
            await receiver.receive(bundle, wanted)
        except OSError as error:
            raise ApplyError(_refused(bundle, error)) from error

    async def destroy(self, bundle: str) -> None:
        """Delete the device and everything that is pinned for it."""
        try:
            self._adjusters.forget(bundle)
            await receiver.remove(bundle)
            await owned.remove(bundle)
            pins.remove(bundle)
        except (OSError, NetlinkError) as error:
            raise ApplyError(_refused(bundle, error)) from error

    async def statistics(self, bundle: str) -> BundleStatistics:
        """Return the counters."""
        try:
            counted, total = _counted(bundle)
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
        dropped = {"no_slave": total.dropped, "queue_full": total.full}
        found = {why: count for why, count in dropped.items() if count}
        return receiver.with_received(bundle, BundleStatistics(slaves, found))

    async def sample(self) -> bool:
        """Note what every slave has sent; a bundle that cannot be read has no rates.

        The next hops of bundles that hold packets are asked for here, so within a second.
        """
        samples = {}
        for bundle in pins.pinned():
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError, NetlinkError):
                counted = _counted(bundle)[0]
                sent = {row.ifindex: one.bytes for row, one in counted}
                samples[bundle] = Sample(time.monotonic_ns(), sent)
                if holder.index(bundle):
                    await next_hops.resolve(owned.index(bundle), [row for row, _ in counted])
            await asyncio.sleep(0)  # a thousand bundles would take long at one go
        self._rates.update(samples)
        return bool(samples)

    async def close(self) -> None:
        """Close what is kept open: the bundles do not need us."""
        self._adjusters.close()


def _known(bundle: str) -> Known | None:
    """Return the state of the pinned dataplane of a bundle.

    None: it is incomplete, its device is gone or down, or another version of IPEQL made it.
    """
    try:
        with Dataplane(pins.of(bundle)) as running:
            known = read(running)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    current = (known.ifindex, known.version) == (device.programmed(bundle), dataplane.version())
    return known if current and not upper.is_lower_down(bundle) else None


def _current(bundle: str) -> Known | None:
    """Return the same; None also if the programs are not attached to the device."""
    known = _known(bundle)
    if known is None:
        return None
    if known.holder != holder.index(bundle):
        return None
    with Dataplane(pins.of(bundle)) as running:
        return known if running.is_attached(dataplane.DEVICE, known.ifindex) else None


async def _load(bundle: str) -> Path:
    """Load a dataplane for the bundle's device beside the active one; return its directory."""
    place = await load_beside(bundle, dataplane.load)
    with Dataplane(place) as made:
        write(made, Known(device.programmed(bundle), dataplane.version(), None, ()))
    return place


async def _configure(bundle: str, running: Dataplane, table: BundleTable) -> None:
    before = read(running)
    places = before.places_for(table)
    wanted = layout.incoming(table, before.origins(table))
    for slave, place in zip(wanted.table.slave, places, strict=False):
        slave.device = _locate(running, slave.ifindex)
        slave.link = await device.link_layer(slave.ifindex)
        slave.counters = place
    wanted.fresh = sum(1 << place for place in set(places) - set(before.places))
    wanted.cpus = libbpf.cpus()
    wanted.table.watched = running.watched
    wanted.table.device = before.ifindex
    if METHODS[table.method].holds:
        wanted.table.holder = await _hold(bundle, running)
    if layout.keeps_flows(table) and not flows.are_kept(running["flows"]):
        flows.keep(running["flows"])
    await asyncio.to_thread(libbpf.wait_for_programs)
    await put_in_force(running, wanted)
    if not layout.keeps_flows(table):
        flows.forget(running["flows"])
    await _learn_neighbours(running, [row.ifindex for row in table.slaves])
    write(running, Known(before.ifindex, before.version, table, places, wanted.table.holder))
    if wanted.table.holder:
        await next_hops.resolve(owned.index(bundle), table.slaves)
    else:
        await _let_go(bundle, running, before.table)


async def _hold(bundle: str, running: Dataplane) -> int:
    """Have the devices that hold packets, and return the holder's ifindex."""
    made = await holder.create(bundle)
    running.attach(dataplane.HOLDER, made.lower, made.new)
    return made.ifindex


async def _let_go(bundle: str, running: Dataplane, before: BundleTable | None) -> None:
    """Remove the devices that held packets for the table ``before``, once all have left."""
    if not holder.is_there(bundle):
        return
    longest = MARGIN_NS + (layout.longest_hold(before) if before else 0)
    end = time.monotonic_ns() + longest
    while _is_holding(running) and time.monotonic_ns() < end:
        await asyncio.sleep(0.01)
    await holder.remove(bundle)


def _is_holding(running: Dataplane) -> bool:
    found = libbpf.lookup(running["serialised"], _ZERO, layout.Serialised())
    return any(each.put != each.taken for each in found.held)


def _check(table: BundleTable) -> None:
    """Raise ValueError or TypeError if the table does not fit the method."""
    if table.method not in layout.METHODS:
        raise ValueError(f"method {table.method}: there is none")
    if METHODS[table.method].holds and (lack := holder.lack()):
        raise ValueError(f"method {table.method}: {lack}")
    tables.scheduler(table)


def _locate(running: Dataplane, ifindex: int) -> int:
    """Return the address of an interface's net_device; OSError ENODEV where there is none."""
    location = layout.Location(ifindex=ifindex)
    libbpf.run(running["locate"], location)
    if not location.device:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
    return int(location.device)


def _counted(bundle: str) -> tuple[list[tuple[SlaveRow, layout.Counters]], layout.Counters]:
    """Return each slave of the table in force with its counters, and the bundle's own."""
    with Dataplane(pins.of(bundle), ("document", "lanes")) as running:
        known = read(running)
        lanes = libbpf.lookup_each_cpu(running["lanes"], layout.Lane)
    rows = known.table.slaves if known.table else ()
    counters = (_count(lanes, place) for place in known.places)
    return list(zip(rows, counters, strict=True)), _count(lanes, layout.BUNDLE_COUNTERS)


def _count(lanes: Sequence[layout.Lane], place: int) -> layout.Counters:
    total = layout.Counters()
    for lane in lanes:
        one = lane.counters[place]
        total.picks += one.picks
        total.packets += one.packets
        total.bytes += one.bytes
        total.dropped += one.dropped
        total.full += one.full
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
        errno.E2BIG: "let fewer, larger routes lead to the bundle, or set 'receive: slave'",
        errno.ENODEV: "a slave's link went away meanwhile; the next pass sees it",
    }
    number = error.code if isinstance(error, NetlinkError) else getattr(error, "errno", 0)
    return Problem(Code.APPLY_FAILED, f"{bundle}: bpf: {error}", helps.get(number, ""))
