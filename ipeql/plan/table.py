"""The difference between two slave tables, in words."""

from collections.abc import Iterator
from dataclasses import fields

from ipeql.config.schema.dscp import in_mask, name_of
from ipeql.config.schema.kinds import Kind, kinds
from ipeql.config.schema.model import Bundle, Slave
from ipeql.state import BundleTable, SlaveRow

_BUNDLE = kinds(Bundle)
_SLAVE = {
    field.name: kinds(Slave)[field.name]
    for field in fields(SlaveRow)
    if field.name in kinds(Slave).keys() - {"name"}
}
"""The keys of a slave that a dataplane has."""


def describe_change(before: BundleTable | None, after: BundleTable) -> str:
    """Return what distinguishes the tables, e.g. ``slave eth2 bandwidth 5Mbit -> 10Mbit``."""
    if before is None:
        slaves = ", ".join(row.name for row in after.slaves) or "no slave"
        return f"{after.method} over {slaves}"
    return "; ".join(_differences(before, after))


def _words(kind: Kind, value: object) -> str:
    return "none" if value is None else str(kind.write(value))


def _differences(before: BundleTable, after: BundleTable) -> Iterator[str]:
    earlier, later = _settings(before), _settings(after)
    earlier_classes, later_classes = _classes(before), _classes(after)
    for key, kind in _BUNDLE.items():
        if earlier.get(key) != later.get(key):
            one, other = (
                _words(kind, settings[key]) if key in settings else "default"
                for settings in (earlier, later)
            )
            yield f"{key.replace('_', '-')} {one} -> {other}"
    if earlier_classes != later_classes:
        yield f"classes {earlier_classes} -> {later_classes}"
    yield from _slave_differences(before.slaves, after.slaves)


def _settings(table: BundleTable) -> dict[str, object]:
    own = {key: getattr(table, key) for key in _BUNDLE if hasattr(table, key)}
    return own | dict(table.parameters)


def _classes(table: BundleTable) -> str:
    """Return the DSCPs of each method of a class in words, such as ``ef cs5 duplicate``."""
    masks = {"duplicate": table.duplicate_dscps, "bw_lag_val": table.light_dscps}
    words = (
        " ".join((*map(str, map(name_of, in_mask(mask))), method))
        for method, mask in masks.items()
        if mask
    )
    return ", ".join(words) or "none"


def _slave_differences(before: tuple[SlaveRow, ...], after: tuple[SlaveRow, ...]) -> Iterator[str]:
    earlier = {row.ifindex: row for row in before}
    later = {row.ifindex: row for row in after}
    for row in before:
        if row.ifindex not in later:
            yield f"slave {row.name} leaves"
    for row in after:
        if row.ifindex not in earlier:
            yield f"slave {row.name} joins"
        elif row != earlier[row.ifindex]:
            yield f"slave {row.name} {', '.join(_row_differences(earlier[row.ifindex], row))}"
    staying = [row.ifindex for row in before if row.ifindex in later]
    if staying != [row.ifindex for row in after if row.ifindex in earlier]:
        yield f"order {', '.join(row.name for row in after)}"


def _row_differences(before: SlaveRow, after: SlaveRow) -> Iterator[str]:
    if before.name != after.name:
        yield f"was {before.name}"
    for key, kind in _SLAVE.items():
        one, other = getattr(before, key), getattr(after, key)
        if one != other:
            yield f"{key.replace('_', '-')} {_words(kind, one)} -> {_words(kind, other)}"
    if before.usable != after.usable:
        yield "usable" if after.usable else "not usable"
