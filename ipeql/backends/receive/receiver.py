"""Receiving for a bundle: what the backends that have no receiver of their own call."""

import contextlib
import errno
import json
from collections.abc import Mapping, Set
from ctypes import c_uint32
from dataclasses import asdict, dataclass, replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

from ipeql.backends.ebpf import libbpf, pins
from ipeql.backends.ebpf.loading import load_beside
from ipeql.backends.places import places
from ipeql.backends.receive import groups, layout, program
from ipeql.backends.receive.program import Program
from ipeql.methods import MAX_SLAVES
from ipeql.state import BundleStatistics, Capabilities, Receiver, Receiving

_ZERO = c_uint32(0)
_LAST_EPOCH = 2**64 - 1
Counts = Mapping[int, layout.Counters]
"""What each slave (ifindex) has received for its bundle."""


@dataclass(frozen=True, slots=True)
class _InForce:
    """What the program was told.

    ``places``: where each slave is counted. ``made``: the slaves (ifindex) that have a clsact
    queueing discipline for it.
    """

    version: str
    epoch: int
    receiver: Receiver
    places: tuple[int, ...] = ()
    made: tuple[int, ...] = ()


def able(capabilities: Capabilities) -> Capabilities:
    """Return a backend's capabilities with receiving by the program, or why it cannot."""
    if reason := program.unavailable():
        return replace(capabilities, lacks={**capabilities.lacks, "bundle": reason})
    return replace(capabilities, receives=frozenset({"bundle", "slave"}), receiver=True)


async def observe(bundle: str) -> Receiver | None:
    """Return what the program of a bundle knows; None: there is none, or it has to be told anew."""
    try:
        with Program(pins.of(bundle, pins.RECEIVER)) as running:
            known = _read(running)
            libbpf.lookup(running["target"], _ZERO, c_uint32())
            whole = known.version == program.version() and all(
                running.is_attached(slave.ifindex, not slave.mac) for slave in known.receiver.slaves
            )
        joined = await groups.are_joined(groups.of(known.receiver))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return known.receiver if whole and joined else None


async def receive(bundle: str, receiver: Receiver | None) -> None:
    """Let the bundle receive as ``receiver`` says, without a packet lost; None: not at all.

    Raises OSError, E2BIG where it is more than the maps take. A program of another version works
    until the new one is attached.
    """
    if receiver is None:
        await remove(bundle)
        return
    _refuse_too_much(receiver)
    place = pins.of(bundle, pins.RECEIVER)
    before = _known(place)
    fresh = before is None or before.version != program.version()
    if fresh:
        place = await load_beside(bundle, program.load, pins.RECEIVER)
    with Program(place) as running:
        told = _tell(running, None if fresh else before, receiver)
        for slave in receiver.slaves:
            if running.attach(slave.ifindex, not slave.mac):
                told = replace(told, made=(*told.made, slave.ifindex))
                _write(running, told)
    if before:  # those of clsact that stay have been replaced in place
        with Program(pins.of(bundle, pins.RECEIVER)) as running:
            await _detach(running, before, {slave.ifindex for slave in receiver.slaves})
    if fresh:
        pins.put_in_force(bundle, place, pins.RECEIVER)
    await groups.change(before.receiver if before else None, receiver)


async def remove(bundle: str) -> None:
    """Detach and remove the program of a bundle: the slaves receive for themselves. OSError."""
    place = pins.of(bundle, pins.RECEIVER)
    known = _known(place)
    try:
        if known:
            with Program(place) as running:
                await _detach(running, known, set())
            await groups.change(known.receiver, None)
    finally:
        pins.remove(bundle, pins.RECEIVER)


def counts(bundle: str) -> Counts:
    """Return what the slaves of a bundle have received; nothing where it does not receive."""
    try:
        with Program(pins.of(bundle, pins.RECEIVER)) as running:
            known = _read(running)
            lanes = libbpf.lookup_each_cpu(running["lanes"], layout.Lane)
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    found = {}
    for slave, place in zip(known.receiver.slaves, known.places, strict=True):
        found[slave.ifindex] = total = layout.Counters()
        for lane in lanes:
            total.packets += lane.counters[place].packets
            total.bytes += lane.counters[place].bytes
    return found


def with_received(bundle: str, statistics: BundleStatistics) -> BundleStatistics:
    """Return the statistics with what the slaves have received."""
    found = counts(bundle)
    none = layout.Counters()
    slaves = tuple(
        replace(
            slave,
            received_packets=found.get(slave.ifindex, none).packets,
            received_bytes=found.get(slave.ifindex, none).bytes,
        )
        for slave in statistics.slaves
    )
    return replace(statistics, slaves=slaves)


def _known(place: Path) -> _InForce | None:
    try:
        with Program(place) as running:
            return _read(running)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _tell(running: Program, before: _InForce | None, receiver: Receiver) -> _InForce:
    """Write the maps. An entry that stays is not touched, and verdicts are kept until the end."""
    told = _InForce(
        program.version(),
        before.epoch + 1 if before else 1,
        receiver,
        _places(before, receiver),
        tuple(
            ifindex
            for ifindex in (before.made if before else ())
            if ifindex in {slave.ifindex for slave in receiver.slaves}
        ),
    )
    libbpf.update(running["target"], _ZERO, c_uint32(receiver.device))
    for slave, place in zip(receiver.slaves, told.places, strict=True):
        member = layout.Member(place=place)
        member.mac[:] = layout.mac(slave.mac)
        libbpf.update(running["members"], c_uint32(slave.ifindex), member)
    _tell_addresses(running, before.receiver if before else None, receiver)
    known = layout.Known(
        epoch=told.epoch, header=bool(receiver.mac), rewrite=bool(receiver.mac and receiver.own)
    )
    known.mac[:] = layout.mac(receiver.mac)
    libbpf.update(running["receiver"], _ZERO, known)
    _write(running, told)
    return told


def _tell_addresses(running: Program, before: Receiver | None, after: Receiver) -> None:
    networks = {} if before is None else layout.sources(before)
    for key, value in layout.sources(after).items():
        if networks.get(key) != value:
            libbpf.update(running["sources"], _source(key), c_uint32(value))
    for key in networks.keys() - layout.sources(after).keys():
        libbpf.delete(running["sources"], _source(key))
    addresses = frozenset() if before is None else layout.locals_(before)
    for local in layout.locals_(after) - addresses:
        libbpf.update(running["locals"], _local(local), c_uint32(1))
    for local in addresses - layout.locals_(after):
        libbpf.delete(running["locals"], _local(local))


def _source(key: tuple[int, bytes]) -> layout.Source:
    found = layout.Source(bits=key[0])
    found.address[:] = key[1]
    return found


def _local(key: tuple[int, bytes]) -> layout.Local:
    found = layout.Local(ifindex=key[0])
    found.address[:] = key[1]
    return found


def _places(before: _InForce | None, receiver: Receiver) -> tuple[int, ...]:
    """Return where to count each slave: those that stay, where they were."""
    slaves = (slave.ifindex for slave in before.receiver.slaves) if before else ()
    taken = before.places if before else ()
    known = dict(zip(slaves, taken, strict=True))
    return places([known.get(slave.ifindex) for slave in receiver.slaves], taken)


async def _detach(running: Program, known: _InForce, staying: Set[int]) -> None:
    """Detach from the slaves that are ``known``, but for those that are ``staying`` (ifindex)."""
    for ifindex in {slave.ifindex for slave in known.receiver.slaves} - staying:
        with contextlib.suppress(FileNotFoundError):
            libbpf.delete(running["members"], c_uint32(ifindex))
        await running.detach(ifindex, ifindex in known.made)


def _refuse_too_much(receiver: Receiver) -> None:
    """Raise OSError E2BIG where it does not fit into the maps, before any of them is written."""
    slaves = receiver.slaves
    all_made = tuple(slave.ifindex for slave in slaves)
    largest = _InForce(
        program.version(), _LAST_EPOCH, receiver, (MAX_SLAVES,) * len(slaves), all_made
    )
    if (
        len(_text(largest)) > layout.DOCUMENT_BYTES
        or len(layout.sources(receiver)) > layout.SOURCES
        or len(layout.locals_(receiver)) > layout.LOCALS
    ):
        counts = f"{len(receiver.routed)} networks and {len(receiver.addresses)} addresses"
        raise OSError(errno.E2BIG, f"{counts} of the bundle are too many to receive for")


def _write(running: Program, told: _InForce) -> None:
    text = _text(told)
    document = layout.Document()
    document.text[: len(text)] = text
    libbpf.update(running["document"], _ZERO, document)


def _text(told: _InForce) -> bytes:
    return json.dumps(asdict(told), default=str, separators=(",", ":")).encode()


def _read(running: Program) -> _InForce:
    text = bytes(libbpf.lookup(running["document"], _ZERO, layout.Document()).text)
    found: dict[str, Any] = json.loads(text.partition(b"\0")[0])
    return _InForce(
        found["version"],
        found["epoch"],
        _receiver(found["receiver"]),
        tuple(found["places"]),
        tuple(found["made"]),
    )


def _receiver(found: Mapping[str, Any]) -> Receiver:
    slaves = (
        Receiving(**{**slave, "addresses": tuple(map(ip_interface, slave["addresses"]))})
        for slave in found["slaves"]
    )
    return Receiver(
        device=found["device"],
        mac=found["mac"],
        own=found["own"],
        slaves=tuple(slaves),
        routed=tuple(map(ip_network, found["routed"])),
        addresses=tuple(map(ip_address, found["addresses"])),
    )
