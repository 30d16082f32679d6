"""What a dataplane's paths are, from what is configured and what is adjusted.

The divisions that the methods need are done here, once (docs/methods.md, Terms).
"""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import NamedTuple

from ipeql.backends.bpf.layout import Adjusting, Flag, Given, Incoming, Origins, Parameters, Path
from ipeql.methods import SlaveParameters
from ipeql.methods.base import lag_order, nanoseconds_per_byte
from ipeql.methods.bw_load import WEIGHT_SHIFT
from ipeql.methods.bw_poll import BITS_NS, PACKET
from ipeql.state.path import Adjusted, Adjustments

_DECAY_BITS = 45
"""A decay of more bits makes every priority 0: priorities have at most 2 x 17 + 5."""

_GIVEN = tuple(
    {field.name for field in fields(SlaveParameters)} & {name for name, _ in Path._fields_}
)
"""The fields of a path that are given; the others are derived."""


class _Slave(NamedTuple):
    parameters: SlaveParameters
    usable: bool


def carry(wanted: Incoming, known: Origins) -> None:
    """Carry over to a table what slaves that stay are adjusted by, and derive its paths."""
    origins = wanted.origins
    origins.revision = known.revision
    before = {each.ifindex: each for each in known.adjusted[: known.count]}
    for index in range(origins.count):
        ifindex = origins.configured[index].ifindex
        origins.adjusted[index] = before.get(ifindex) or Given(ifindex=ifindex)
    slaves = list(_slaves(origins))
    _derive(wanted.table.parameters, slaves, origins)
    wanted.table.usable = _usable(slaves)


def adjusting(known: Origins, adjustments: Adjustments) -> Adjusting:
    """Return what puts adjustments into force; an ifindex that is no slave is ignored."""
    for index in range(known.count):
        ifindex = known.configured[index].ifindex
        known.adjusted[index] = _given(ifindex, adjustments.get(ifindex) or Adjusted())
    slaves = list(_slaves(known))
    wanted = Adjusting(revision=known.revision, usable=_usable(slaves))
    _derive(wanted, slaves, known)
    wanted.adjusted = known.adjusted
    return wanted


def _given(ifindex: int, by: Adjusted) -> Given:
    flags = Flag.OUT * (not by.usable) | Flag.LAG * (by.lag is not None)
    flags |= Flag.BANDWIDTH * (by.bandwidth is not None)
    return Given(ifindex, flags, 0, 0, by.bandwidth or 0, by.lag or 0)


def _slaves(known: Origins) -> Iterator[_Slave]:
    """Return what is known of each slave, as adjusted."""
    for index in range(known.count):
        configured, adjusted = known.configured[index], known.adjusted[index]
        rate = adjusted if adjusted.flags & Flag.BANDWIDTH else configured
        lag = adjusted if adjusted.flags & Flag.LAG else configured
        yield _Slave(
            SlaveParameters(
                bandwidth=rate.bandwidth,
                lag=lag.lag if lag.flags & Flag.LAG else None,
                overhead=configured.overhead,
            ),
            usable=not (configured.flags | adjusted.flags) & Flag.OUT,
        )


def _usable(slaves: Sequence[_Slave]) -> int:
    return sum(slave.usable << index for index, slave in enumerate(slaves))


def _derive(to: Parameters | Adjusting, slaves: Sequence[_Slave], known: Origins) -> None:
    """Set ``order``, ``path`` and ``timed``."""
    given = [slave.parameters for slave in slaves]
    to.timed = all(slave.bandwidth and slave.lag is not None for slave in given)
    for place, index in enumerate(lag_order(given)):
        to.order[place] = index
    total = sum(slave.bandwidth for slave in given)
    unit = BITS_NS * PACKET if known.count_packets else BITS_NS
    for index, slave in enumerate(given):
        path = to.path[index]
        for name in _GIVEN:
            setattr(path, name, getattr(slave, name) or 0)
        if slave.bandwidth:
            path.nspb = nanoseconds_per_byte(slave.bandwidth)
            path.weight = max(1, (slave.bandwidth << WEIGHT_SHIFT) // total)
            quotient, path.decay_remainder = divmod(slave.bandwidth * known.poll_interval, unit)
            path.decay_quotient = min(quotient, 1 << _DECAY_BITS)
