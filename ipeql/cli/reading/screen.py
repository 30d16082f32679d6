"""The status document as a person reads it: a headline per bundle, a table of its slaves."""

from collections.abc import Iterable, Mapping
from typing import Any

import click
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ipeql.cli.reading.classes import in_words
from ipeql.cli.reading.figures import milliseconds, rate
from ipeql.cli.reading.path_table import has_paths, measured, path_table, resting
from ipeql.units import format_rate, format_time

PLAIN_WIDTH = 120
"""Columns if the output is no terminal: wide enough for an ordinary table."""

_WIDE = 100

_BAR_CELLS = 8
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_COLOURS = {
    "ready": "green",
    "active": "green",
    "degraded": "yellow",
    "hold-off": "yellow",
    "suspended": "yellow",
    "pending": "yellow",
    "absent": "dim",
}


def console() -> Console:
    """Return rich's console on stdout; it handles NO_COLOR and TERM."""
    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


def room_for_bars(console: Console) -> bool:
    """Say whether bars can be drawn: only a terminal, and a wide one, has them."""
    return console.is_terminal and is_wide(console)


def is_wide(console: Console) -> bool:
    """Say whether there is room for all columns."""
    return console.width >= _WIDE


def status_table(
    bundles: Iterable[Mapping[str, Any]], bars: bool, wide: bool = True, now: int = 0
) -> RenderableType:
    """Return what ``ipeql status`` prints; ``bars``: draw rates as bars too.

    ``now``: ns of CLOCK_MONOTONIC, for how long something has been so; 0: leave that out.
    """
    parts: list[RenderableType] = []
    for bundle in bundles:
        if parts:
            parts.append("")
        parts += [*_headline(bundle), _slaves(bundle["slaves"], bars, wide)]
        if has_paths(bundle):
            parts.append(path_table(bundle, now))
    return Group(*parts)


def write(drawn: RenderableType) -> None:
    """Print what was drawn, without blanks at the end of lines."""
    output = console()
    with output.capture() as captured:
        output.print(drawn)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


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
    mtu = f"mtu {bundle['mtu_bytes']}" if bundle["mtu_bytes"] else ""
    device = list(filter(None, [bundle["device"], mtu, *bundle["addresses"]]))
    if device:
        yield Text("  " + "  ".join(device), "dim")
    if bundle["backend"]:
        yield Text(f"  {bundle['backend']}: {bundle['backend_reason']}", "dim")
    if classes := in_words(bundle.get("classes", ())):
        yield Text(f"  classes: {classes}", "dim")
    if bundle["receive_reason"]:
        yield Text(f"  {bundle['receive_reason']}", "dim")
    if bundle["reason"] and not bundle["problems"]:
        yield Text(f"  {bundle['reason']}")
    for rests in resting(bundle):
        yield Text(f"  {rests}", "yellow")
    changed = [*bundle["transient"], *(f"{slave} freed" for slave in bundle["freed"])]
    if changed:
        yield Text(f"  transient: {', '.join(changed)}", "cyan")
    if drops := _drops(bundle["dropped"]):
        yield Text(f"  {drops}", "yellow")
    for problem in bundle["problems"]:
        yield Text(f"  {problem['message']} [{problem['code']}]", "red")
        if problem["help"]:
            yield Text(f"    help: {problem['help']}")


def _slaves(slaves: Iterable[Mapping[str, Any]], bars: bool, wide: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("  SLAVE", no_wrap=True)
    table.add_column("STATE", no_wrap=True)
    for name in ("RATE", "SHARE", "BANDWIDTH", "LAG", "QUEUED", *(("RECEIVED",) if wide else ())):
        table.add_column(name, justify="right", no_wrap=True)
        if bars and name == "RATE":
            table.add_column(width=_BAR_CELLS)
    table.add_column("NOTE")
    for slave in slaves:
        enslaved = slave["ifindex"] != 0
        full = slave["bandwidth_bps"]
        cells: list[str | Text] = [
            f"  {slave['name'] or slave['label']}",
            _state(_resting(slave)),
            rate(slave["rate_bps"]) if enslaved else "-",
            f"{slave['share'] * 100:.1f}%" if enslaved else "-",
            _bandwidth(slave),
            _lag(slave),
            str(slave["queued_packets"]) if enslaved else "-",
            _note(slave),
        ]
        if wide:
            cells.insert(-1, str(slave["received_packets"]) if enslaved else "-")
        if bars:
            cells.insert(3, Text(bar(slave["rate_bps"] / full if full else 0.0), "cyan"))
        table.add_row(*cells)
    return table


def _bandwidth(slave: Mapping[str, Any]) -> str:
    if slave.get("bandwidth_measured"):
        return measured(slave["path"] or {"bandwidth_state": "startup"})
    full = slave["bandwidth_bps"]
    return format_rate(full) if full else "-"


def _lag(slave: Mapping[str, Any]) -> str:
    if slave.get("lag_measured"):
        return "auto" if slave["lag_ns"] is None else milliseconds(slave["lag_ns"])
    return "-" if slave["lag_ns"] is None else format_time(slave["lag_ns"])


def _note(slave: Mapping[str, Any]) -> str:
    changed = ", ".join(slave["transient"])
    transient = changed and ("transient" if changed == "slave" else f"transient: {changed}")
    use = slave.get("use", "always").replace("always", "")
    return "; ".join(filter(None, (use, slave["reason"], transient, _drops(slave["dropped"]))))


def _resting(slave: Mapping[str, Any]) -> str:
    """Return the state, or that the dataplane does not use the slave for the moment."""
    suspended = (slave.get("path") or {}).get("standing") == "suspended"
    return "suspended" if suspended and slave["state"] == "active" else str(slave["state"])


def _state(state: str) -> Text:
    return Text(state, _COLOURS.get(state, "red"))


def _drops(dropped: Mapping[str, int]) -> str:
    counts = ", ".join(f"{reason} {count}" for reason, count in sorted(dropped.items()) if count)
    return f"dropped: {counts}" if counts else ""


def bar(fraction: float) -> str:
    """Draw a fraction, 0 to 1, in eighths of a cell."""
    eighths = round(min(max(fraction, 0.0), 1.0) * _BAR_CELLS * 8)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + _EIGHTHS[rest]).strip()
