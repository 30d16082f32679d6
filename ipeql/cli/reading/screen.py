"""The status document as a person reads it: a headline per bundle, a table of its slaves."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ipeql.units import format_rate, format_time

PLAIN_WIDTH = 120
"""Columns if the output is no terminal: wide enough for an ordinary table."""

_BAR_WIDTH = 100

_BAR_CELLS = 8
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_COLOURS = {
    "ready": "green",
    "active": "green",
    "degraded": "yellow",
    "hold-off": "yellow",
    "pending": "yellow",
    "absent": "dim",
}


def console() -> Console:
    """Return rich's console on stdout; it handles NO_COLOR and TERM."""
    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


def room_for_bars(console: Console) -> bool:
    """Say whether bars can be drawn: only a terminal, and a wide one, has them."""
    return console.is_terminal and console.width >= _BAR_WIDTH


def status_table(bundles: Iterable[Mapping[str, Any]], bars: bool) -> RenderableType:
    """Return what ``ipeql status`` prints; ``bars``: draw rates as bars too."""
    parts: list[RenderableType] = []
    for bundle in bundles:
        if parts:
            parts.append("")
        parts += [*_headline(bundle), _slaves(bundle["slaves"], bars)]
    return Group(*parts)


def _headline(bundle: Mapping[str, Any]) -> Iterable[Text]:
    yield Text.assemble(
        (bundle["name"], "bold"),
        "  ",
        _state(bundle["state"]),
        f"  {bundle['method']}",
        f" on {bundle['backend']}" if bundle["backend"] else "",
        f"  {bundle['usable_slaves']}/{len(bundle['slaves'])} slaves usable",
        f"  {rate(bundle['rate_bps'])}",
    )
    mtu = [f"mtu {bundle['mtu_bytes']}"] if bundle["mtu_bytes"] else []
    if mtu or bundle["addresses"]:
        yield Text("  " + "  ".join([*mtu, *bundle["addresses"]]), "dim")
    if bundle["backend"]:
        yield Text(f"  {bundle['backend']}: {bundle['backend_reason']}", "dim")
    if bundle["reason"] and not bundle["problems"]:
        yield Text(f"  {bundle['reason']}")
    changed = [*bundle["transient"], *(f"{slave} freed" for slave in bundle["freed"])]
    if changed:
        yield Text(f"  transient: {', '.join(changed)}", "cyan")
    if drops := _drops(bundle["dropped"]):
        yield Text(f"  {drops}", "yellow")
    for problem in bundle["problems"]:
        yield Text(f"  {problem['message']} [{problem['code']}]", "red")
        if problem["help"]:
            yield Text(f"    help: {problem['help']}")


def _slaves(slaves: Iterable[Mapping[str, Any]], bars: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("  SLAVE", no_wrap=True)
    table.add_column("STATE", no_wrap=True)
    for name in ("RATE", "SHARE", "BANDWIDTH", "LAG", "QUEUED"):
        table.add_column(name, justify="right", no_wrap=True)
        if bars and name == "RATE":
            table.add_column(width=_BAR_CELLS)
    table.add_column("NOTE")
    for slave in slaves:
        enslaved = slave["ifindex"] != 0
        full = slave["bandwidth_bps"]
        cells: list[str | Text] = [
            f"  {slave['name'] or slave['label']}",
            _state(slave["state"]),
            rate(slave["rate_bps"]) if enslaved else "-",
            f"{slave['share'] * 100:.1f}%" if enslaved else "-",
            format_rate(full) if full else "-",
            "-" if slave["lag_ns"] is None else format_time(slave["lag_ns"]),
            str(slave["queued_packets"]) if enslaved else "-",
            _note(slave),
        ]
        if bars:
            cells.insert(3, Text(bar(slave["rate_bps"] / full if full else 0.0), "cyan"))
        table.add_row(*cells)
    return table


def _note(slave: Mapping[str, Any]) -> str:
    changed = ", ".join(slave["transient"])
    transient = changed and ("transient" if changed == "slave" else f"transient: {changed}")
    return "; ".join(filter(None, (slave["reason"], transient, _drops(slave["dropped"]))))


def _state(state: str) -> Text:
    return Text(state, _COLOURS.get(state, "red"))


def _drops(dropped: Mapping[str, int]) -> str:
    counts = ", ".join(f"{reason} {count}" for reason, count in sorted(dropped.items()) if count)
    return f"dropped: {counts}" if counts else ""


def rate(bits_per_second: int) -> str:
    """Write a measured rate in three digits, e.g. ``48.2 Mbit/s``."""
    value, unit = float(bits_per_second), "bit/s"
    for larger in ("kbit/s", "Mbit/s", "Gbit/s"):
        if value >= 999.5:
            value, unit = value / 1000, larger
    digits = 0 if unit == "bit/s" or value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f} {unit}"


def bar(fraction: float) -> str:
    """Draw a fraction, 0 to 1, in eighths of a cell."""
    eighths = round(min(max(fraction, 0.0), 1.0) * _BAR_CELLS * 8)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + _EIGHTHS[rest]).strip()
