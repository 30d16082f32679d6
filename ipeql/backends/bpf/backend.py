"""The bpf backend as the reconciler sees it. It keeps nothing: all that counts is in the kernel."""

import asyncio
import errno
import json
import os
import time
from collections.abc import Mapping, Sequence
from ctypes import c_uint32, c_uint64
from ipaddress import ip_address
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ipeql.backends import table as tables
from ipeql.backends.bpf import dataplane, device, layout, libbpf
from ipeql.backends.bpf.dataplane import Dataplane
from ipeql.errors import ApplyError, Code, Problem
from ipeql.methods import MAX_SLAVES
from ipeql.state import (
    BundleStatistics,
    BundleTable,
    Capabilities,
    ObservedBundle,
    SlaveStatistics,
)

RANK = 20
NUD_VALID = 0xDE
"""The states in which a neighbour's link-layer address may be used; include/net/neighbour.h."""

LACKS = {
    "auto_bw": "it does not read the slaves' queues",
    "bw_lag_eq": "it cannot hold packets: a redirected one is still accounted to its socket",
    "packet": "a packet train reaches the program whole",
}

_ZERO = c_uint32(0)


class BpfBackend:
    """One device, its programs and its maps per bundle; they go on without us."""

    name = "bpf"

    def __init__(self) -> None:
        self._before: dict[tuple[str, int], tuple[int, int]] = {}

    def capabilities(self) -> Capabilities:
        """Return what the kernel can do: everything that needs no holding."""
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
        """Return the bundles whose dataplane is whole, or whose device is gone under it."""
        observed = {}
        for bundle in dataplane.pinned():
            try:
                with Dataplane(bundle) as running:
                    observed[bundle] = ObservedBundle(self.name, _read(running).table)
            except OSError:
                if not device.index(bundle):
                    observed[bundle] = ObservedBundle(self.name)
        return observed

    async def create(self, bundle: str) -> None:
        """Make the device and attach a dataplane to it, unless both are there."""
        try:
            if device.index(bundle) and bundle in await self.observe():
                return
            dataplane.remove(bundle)
            ifindex = await device.create(bundle)
            await asyncio.to_thread(dataplane.create, bundle, ifindex)
        except (OSError, NetlinkError) as error:
            raise ApplyError(_refused(bundle, error)) from error

    async def configure(self, bundle: str, table: BundleTable) -> None:
        """Put a slave table into force in one step, under the packets."""
        try:
            with Dataplane(bundle) as running:
                before = _read(running)
                counters = before.counters_for(table)
                wanted = layout.incoming(table, before.origins(table))
                for number, row in enumerate(table.slaves):
                    slave = wanted.table.slave[number]
                    slave.device = _locate(running, row.ifindex)
                    slave.counters = counters[number]
                    slave.resolves = await device.resolves(row.ifindex)
                    if row.ifindex not in before.counters:
                        libbpf.clear_each_cpu(
                            running["counters"], counters[number], layout.Counters
                        )
                        self._before.pop((bundle, row.ifindex), None)
                libbpf.update(running["incoming"], _ZERO, wanted)
                libbpf.run(running["configure"], libbpf.SkBuff(), bytes(60))
                _write(running, table, counters)
                await _learn_neighbours(running, [row.ifindex for row in table.slaves])
            await device.limit_trains(bundle, tables.train_segments(table))
        except (OSError, NetlinkError) as error:
            raise ApplyError(_refused(bundle, error)) from error

    async def destroy(self, bundle: str) -> None:
        """Delete the device and everything that is pinned for it."""
        try:
            await device.remove(bundle)
            dataplane.remove(bundle)
        except (OSError, NetlinkError) as error:
            raise ApplyError(_refused(bundle, error)) from error

    async def statistics(self, bundle: str) -> BundleStatistics:
        """Return the counters; a rate is over the time since they were last asked for."""
        try:
            with Dataplane(bundle) as running:
                known = _read(running)
                rows = known.table.slaves if known.table else ()
                slaves = tuple(
                    self._statistics(bundle, row.ifindex, row.name, _count(running, place))
                    for row in rows
                    if (place := known.counters.get(row.ifindex)) is not None
                )
                dropped = _count(running, layout.BUNDLE_COUNTERS).dropped
        except OSError as error:
            raise ApplyError(_refused(bundle, error)) from error
        return BundleStatistics(slaves, {"no_slave": dropped} if dropped else {})

    async def close(self) -> None:
        """Do nothing: the bundles do not need us."""

    def _statistics(
        self, bundle: str, ifindex: int, name: str, counters: layout.Counters
    ) -> SlaveStatistics:
        now = time.monotonic_ns()
        since, earlier = self._before.get((bundle, ifindex), (now, 0))
        self._before[bundle, ifindex] = now, counters.bytes
        rate = (counters.bytes - earlier) * 8 * 10**9 // (now - since) if now > since else 0
        return SlaveStatistics(
            ifindex=ifindex,
            name=name,
            picks=counters.picks,
            packets=counters.packets,
            bytes=counters.bytes,
            rate=rate,
        )


class _Known:
    """The table in force, None before the first, and where each slave is counted, by ifindex."""

    def __init__(self, table: BundleTable | None, counters: Mapping[int, int]) -> None:
        self.table = table
        self.counters = counters

    def origins(self, table: BundleTable) -> list[int | None]:
        """Return for each slave of ``table`` the index it has in the one in force."""
        rows = self.table.slaves if self.table else ()
        known = {row.ifindex: number for number, row in enumerate(rows)}
        return [known.get(row.ifindex) for row in table.slaves]

    def counters_for(self, table: BundleTable) -> list[int]:
        """Return where to count each slave of ``table``: those that stay, where they were."""
        staying = [self.counters.get(row.ifindex) for row in table.slaves]
        free = iter(sorted(set(range(MAX_SLAVES)) - set(staying)))
        return [next(free) if place is None else place for place in staying]


def _read(running: Dataplane) -> _Known:
    text = bytes(libbpf.lookup(running["document"], _ZERO, layout.Document()).text)
    document: dict[str, Any] = json.loads(text.rstrip(b"\0") or b"null") or {}
    if not document:
        return _Known(None, {})
    table = tables.from_json(document["table"])
    places = zip(table.slaves, document["counters"], strict=True)
    return _Known(table, {row.ifindex: place for row, place in places})


def _write(running: Dataplane, table: BundleTable, counters: Sequence[int]) -> None:
    written = {"table": tables.to_json(table), "counters": counters}
    text = json.dumps(written, default=str, separators=(",", ":")).encode()
    document = layout.Document()
    document.text[: len(text)] = text
    libbpf.update(running["document"], _ZERO, document)


def _locate(running: Dataplane, ifindex: int) -> int:
    """Return the address of an interface's net_device; OSError ENODEV where there is none."""
    location = layout.Location(ifindex=ifindex)
    libbpf.run(running["locate"], location)
    if not location.device:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
    return int(location.device)


def _count(running: Dataplane, place: int) -> layout.Counters:
    total = layout.Counters()
    for one in libbpf.lookup_each_cpu(running["counters"], place, layout.Counters):
        total.picks += one.picks
        total.packets += one.packets
        total.bytes += one.bytes
        total.dropped += one.dropped
    return total


async def _learn_neighbours(running: Dataplane, ifindices: Sequence[int]) -> None:
    """Tell the dataplane which neighbours were resolved before it followed them.

    Looked at twice: one that was lost between the look and the writing is taken back.
    """
    before: set[tuple[int, str]] = set()
    async with AsyncIPRoute() as kernel:
        for add in (True, False):
            valid = {
                (neighbour["ifindex"], address)
                async for neighbour in await kernel.neigh("dump")
                if neighbour["state"] & NUD_VALID
                and neighbour["ifindex"] in ifindices
                and (address := neighbour.get("dst"))
            }
            for ifindex, address in valid if add else before - valid:
                hop = layout.Hop(ifindex, layout.next_hop(ip_address(address)))
                if add:
                    libbpf.update(running["neighbours"], hop, c_uint64(0))
                else:
                    libbpf.delete(running["neighbours"], hop)
            before = valid


def _refused(bundle: str, error: OSError | NetlinkError) -> Problem:
    helps = {
        errno.EPERM: "run as root, or give the service CAP_NET_ADMIN, CAP_BPF and CAP_PERFMON",
        errno.EBUSY: "choose another name for the bundle",
        errno.EOPNOTSUPP: f"load one of the modules {', '.join(device.KINDS)}",
        errno.ENOENT: "the next pass makes the dataplane anew",
        errno.ENODEV: "a slave's link went away meanwhile; the next pass sees it",
    }
    number = error.code if isinstance(error, NetlinkError) else error.errno
    return Problem(Code.APPLY_FAILED, f"{bundle}: bpf: {error}", helps.get(number or 0, ""))
