"""The paths of a bundle's slaves as a person reads them: a row each, with a small history."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from ipeql.cli.reading.figures import age, milliseconds, rate

SAMPLES = 30
"""So many of the last values are drawn."""

_LEVELS = "▁▂▃▄▅▆▇█"
_COLOURS = {"up": "green", "suspended": "yellow", "down": "red"}

RUNGS = {"stamp-counted": "STAMP, counted", "stamp": "STAMP", "icmp": "ICMP"}
"""What the far end answers, for people."""


class History:
    """The last round trips and losses of every path, by bundle and slave."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], deque[tuple[float | None, float | None]]] = {}

    def add(self, bundles: Iterable[Mapping[str, Any]]) -> None:
        """Remember what the bundles of a status document say."""
        for bundle in bundles:
            for slave in bundle["slaves"]:
                if path := slave["path"]:
                    key = bundle["name"], _name(slave)
                    kept = self._seen.setdefault(key, deque(maxlen=SAMPLES))
                    heard = path["standing"] in ("up", "unknown")
                    kept.append((path["round_trip_ns"] if heard else None, path["loss"]))

    def drawn(self, bundle: str, slave: str) -> tuple[str, str]:
        """Return the sparklines of round trip and loss; a gap: nothing was heard."""
        seen = self._seen.get((bundle, slave), ())
        return sparkline([trip for trip, _ in seen]), sparkline([loss for _, loss in seen], 1.0)


def has_rate(slave: Mapping[str, Any]) -> bool:
    """Say whether a slave's bandwidth is measured, and something is known of it."""
    return bool((slave.get("path") or {}).get("bandwidth_state"))


def has_paths(bundle: Mapping[str, Any]) -> bool:
    """Say whether a bundle of a status document has a slave that is there and has a probe."""
    return any(slave.get("path") and slave["ifindex"] for slave in bundle["slaves"])


def path_table(
    bundle: Mapping[str, Any], now: int, history: History | None = None, *, rates: bool = False
) -> Table:
    """Return the paths of a bundle's present slaves.

    ``now``: ns of CLOCK_MONOTONIC, 0: leave out how old they are. ``history``: draw it too.
    ``rates``: show measured bandwidths, if there are any.
    """
    rates = rates and any(has_rate(slave) for slave in bundle["slaves"])
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("  PATH", no_wrap=True)
    table.add_column("STANDING", no_wrap=True)
    for name in ("ROUND TRIP", "LAG", "LOSS", *(("BANDWIDTH",) if rates else ())):
        table.add_column(name, justify="right", no_wrap=True)
    if history:
        table.add_column("DELAY, LAST 30 S", no_wrap=True)
        table.add_column("LOSS, LAST 30 S", no_wrap=True)
    table.add_column("BY", no_wrap=True)
    table.add_column("SUSPENDED", justify="right", no_wrap=True)
    table.add_column("NOTE")
    for slave in bundle["slaves"]:
        if slave["ifindex"] and (path := slave.get("path")):
            drawn = history.drawn(bundle["name"], _name(slave)) if history else ()
            table.add_row(
                f"  {_name(slave)}",
                Text(_standing(path, now), _COLOURS.get(path["standing"], "dim")),
                milliseconds(path["round_trip_ns"]),
                milliseconds(path["lag_ns"], "+"),
                "-" if path["loss"] is None else f"{path['loss'] * 100:.1f}%",
                *((measured(path),) if rates else ()),
                *(Text(line.ljust(SAMPLES), "cyan") for line in drawn),
                RUNGS.get(path["rung"], "-"),
                str(path["suspensions"]),
                _note(path),
            )
    return table


def resting(bundle: Mapping[str, Any]) -> Iterable[str]:
    """Yield why slaves of a bundle are not used although their links work, in words."""
    for slave in bundle["slaves"]:
        path = slave.get("path")
        works = slave["state"] in ("active", "path-down")
        if path and works and path["standing"] in ("down", "suspended"):
            yield f"{_name(slave)} rests: {path['reason'] or 'no answer'} (asked: {path['to']})"


def sparkline(values: Sequence[float | None], top: float = 0.0) -> str:
    """Draw values from 0 to ``top``, or to the largest of them; None is a gap."""
    most = max((value for value in values if value is not None), default=0.0)
    top = top or most or 1.0
    last = len(_LEVELS) - 1
    return "".join(
        " " if value is None else _LEVELS[min(last, max(0, round(value / top * last)))]
        for value in values
    )


def measured(path: Mapping[str, Any]) -> str:
    """Write the bandwidth that is measured of a path; ``auto``: nothing is known of it yet."""
    state = path.get("bandwidth_state")
    if state in (None, "startup"):
        return "auto" if state else "-"
    return rate(path["bandwidth_bps"])


def _standing(path: Mapping[str, Any], now: int) -> str:
    since = path["since_ns"]
    return f"{path['standing']} {age(now - since)}" if 0 < since <= now else str(path["standing"])


def _note(path: Mapping[str, Any]) -> str:
    halved = "lag by round trips" if path["lag_halved"] else ""
    return "; ".join(filter(None, (path["reason"], halved)))


def _name(slave: Mapping[str, Any]) -> str:
    return str(slave["name"] or slave["label"])
