"""``ipeql ping``."""

import contextlib
import json
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

import click

from ipeql.cli import completion
from ipeql.cli.settings import Settings, options
from ipeql.errors import ExitCode

PAUSE_S = 1.0

_MOST = 1_000_000


@click.command()
@options
@click.argument("bundle", shell_complete=completion.bundles)
@click.option(
    "--count",
    metavar="NUMBER",
    type=click.IntRange(1, _MOST),
    default=1,
    show_default=True,
    help="Ask so many times, once a second.",
)
@click.pass_obj
def ping(settings: Settings, bundle: str, count: int) -> None:
    """Ask the far end once over each slave, now.

    Prints the round-trip time of each slave that has a probe, or why there
    is none. If the far end answers over no slave, the exit status is 3.

    \b
    Example: ipeql ping ipeql0 --count 5
    """
    from ipeql.cli import client

    heard: dict[str, list[int | None]] = {}
    with contextlib.suppress(KeyboardInterrupt):
        for number in range(count):
            if number:
                time.sleep(PAUSE_S)
            found = client.call("Ping", bundle=bundle)
            for slave in found["slaves"]:
                heard.setdefault(slave["name"], []).append(slave["round_trip_ns"])
            if settings.json:
                click.echo(json.dumps({"schema": "ipeql-ping/1", **found}))
            else:
                click.echo("\n".join(_lines(found["slaves"])))
    if count > 1 and not settings.json:
        click.echo("\n".join(("", *_summary(heard))))
    if not any(trip is not None for trips in heard.values() for trip in trips):
        sys.exit(ExitCode.DOWN)


def _lines(slaves: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    from ipeql.cli.reading.figures import milliseconds
    from ipeql.cli.reading.path_table import RUNGS

    for slave in slaves:
        trip, subject = slave["round_trip_ns"], f"{slave['name']} to {slave['to']}:"
        if trip is None:
            yield f"{subject} {slave['reason']}"
        else:
            yield f"{subject} {milliseconds(trip)} by {RUNGS.get(slave['rung'], slave['rung'])}"


def _summary(heard: Mapping[str, list[int | None]]) -> Iterable[str]:
    from ipeql.cli.reading.figures import milliseconds

    for name, trips in heard.items():
        known = sorted(trip for trip in trips if trip is not None)
        line = f"{name}: {len(known)} of {len(trips)} answered"
        if known:
            line += f", {milliseconds(known[0])} to {milliseconds(known[-1])}"
            line += f", median {milliseconds(known[len(known) // 2])}"
        yield line
