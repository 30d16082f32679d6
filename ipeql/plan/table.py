"""The difference between two slave tables, in words."""

from collections.abc import Iterator, Mapping

from ipeql.methods import TIMES
from ipeql.state import BundleTable, SlaveRow
from ipeql.units import format_rate, format_time


def describe_change(before: BundleTable | None, after: BundleTable) -> str:
    """Return what distinguishes the tables, e.g. ``slave eth2 bandwidth 5Mbit -> 10Mbit``."""
    if before is None:
        slaves = ", ".join(row.name for row in after.slaves) or "no slave"
        return f"{after.method} over {slaves}"
    return "; ".join(_changes(before, after))


def _rate(value: int) -> str:
    return format_rate(value) if value else "none"


def _time(value: int | None) -> str:
    return "none" if value is None else format_time(value)


def _parameter(key: str, parameters: Mapping[str, int | str]) -> str:
    value = parameters.get(key, "default")
    return format_time(value) if isinstance(value, int) and key in TIMES else str(value)


def _changes(before: BundleTable, after: BundleTable) -> Iterator[str]:
    if before.method != after.method:
        yield f"method {before.method} -> {after.method}"
    earlier, later = dict(before.parameters), dict(after.parameters)
    for key in sorted(earlier.keys() | later.keys()):
        if earlier.get(key) != later.get(key):
            change = f"{_parameter(key, earlier)} -> {_parameter(key, later)}"
            yield f"{key.replace('_', '-')} {change}"
    if before.stripe_unit != after.stripe_unit:
        yield f"stripe-unit {before.stripe_unit} -> {after.stripe_unit}"
    if before.poll_interval != after.poll_interval:
        yield f"poll-interval {_time(before.poll_interval)} -> {_time(after.poll_interval)}"
    yield from _slave_changes(before.slaves, after.slaves)


def _slave_changes(before: tuple[SlaveRow, ...], after: tuple[SlaveRow, ...]) -> Iterator[str]:
    earlier = {row.ifindex: row for row in before}
    later = {row.ifindex: row for row in after}
    for row in before:
        if row.ifindex not in later:
            yield f"slave {row.name} leaves"
    for row in after:
        if row.ifindex not in earlier:
            yield f"slave {row.name} joins"
        elif row != earlier[row.ifindex]:
            yield f"slave {row.name} {', '.join(_row_changes(earlier[row.ifindex], row))}"
    staying = [row.ifindex for row in before if row.ifindex in later]
    if staying != [row.ifindex for row in after if row.ifindex in earlier]:
        yield f"order {', '.join(row.name for row in after)}"


def _row_changes(before: SlaveRow, after: SlaveRow) -> Iterator[str]:
    if before.name != after.name:
        yield f"was {before.name}"
    if before.bandwidth != after.bandwidth:
        yield f"bandwidth {_rate(before.bandwidth)} -> {_rate(after.bandwidth)}"
    if before.lag != after.lag:
        yield f"lag {_time(before.lag)} -> {_time(after.lag)}"
    if before.overhead != after.overhead:
        yield f"overhead {before.overhead} -> {after.overhead}"
    if before.via != after.via:
        yield f"via {before.via or 'none'} -> {after.via or 'none'}"
    if before.via6 != after.via6:
        yield f"via6 {before.via6 or 'none'} -> {after.via6 or 'none'}"
    if before.usable != after.usable:
        yield "usable" if after.usable else "not usable"
