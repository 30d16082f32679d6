"""``ipeql paths``."""

import time
from typing import TYPE_CHECKING, Any

import click

from ipeql.cli import completion
from ipeql.cli.names import pick
from ipeql.cli.output import print_json, remark
from ipeql.cli.settings import Settings, options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console, RenderableType

    from ipeql.cli.reading.path_table import History


@click.command()
@options
@click.argument("bundle", required=False, shell_complete=completion.bundles)
@click.option("--watch", is_flag=True, help="Show the paths every second until Ctrl-C.")
@click.pass_obj
def paths(settings: Settings, bundle: str | None, watch: bool) -> None:
    """Show what is known of the paths to the far end.

    A path is up, suspended (silent for longer than usual), down (silent for
    a second) or unknown (nobody has answered yet). LAG is how much later a
    packet arrives than over the fastest path. LOSS is that of the probes,
    SUSPENDED is counted over the last hour. BANDWIDTH is what the path
    carries, where that is measured.
    --watch draws the last 30 seconds of delay and loss too. It needs the
    daemon.

    \b
    Example: ipeql paths ipeql0 --watch
    """
    from ipeql.cli.reading.path_table import History, has_paths
    from ipeql.cli.reading.watch import watch as keep_showing

    shown = _document(bundle)
    if not settings.json and not any(map(has_paths, shown["bundles"])):
        remark("no slave is probed; give the bundle 'probe: {to: ADDRESS}', see ipeql.yaml(5)")
    if watch:
        history = History()
        history.add(shown["bundles"])

        def fetch() -> dict[str, Any]:
            again = _document(bundle)
            history.add(again["bundles"])
            return again

        def draw(seen: "Mapping[str, Any]", console: "Console") -> "RenderableType":
            return _drawn(seen, history)

        keep_showing(fetch, shown, draw, _write, as_json=settings.json)
    elif settings.json:
        print_json(shown)
    else:
        _write(shown)


def _document(bundle: str | None) -> dict[str, Any]:
    """Return every bundle's slaves that have a probe, each with its path."""
    from ipeql.cli import client

    described = client.call("Describe")["bundles"]
    return {
        "schema": "ipeql-paths/1",
        "bundles": [
            {
                "name": each["name"],
                "slaves": [
                    {key: slave[key] for key in ("name", "label", "ifindex", "state", "path")}
                    for slave in each["slaves"]
                    if slave.get("path")
                ],
            }
            for each in pick(described, [bundle] if bundle else [])
        ],
    }


def _drawn(shown: "Mapping[str, Any]", history: "History | None" = None) -> "RenderableType":
    from rich.console import Group

    from ipeql.cli.reading.path_table import has_paths, path_table

    now = time.monotonic_ns()
    parts: list[RenderableType] = []
    for bundle in shown["bundles"]:
        if has_paths(bundle):
            parts += [bundle["name"], path_table(bundle, now, history, rates=True)]
    return Group(*parts)


def _write(shown: "Mapping[str, Any]") -> None:
    from ipeql.cli.reading import screen

    screen.write(_drawn(shown))
