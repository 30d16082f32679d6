"""``ipeql status``."""

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from ipeql.cli import completion
from ipeql.cli.names import pick
from ipeql.cli.output import print_json, remark
from ipeql.cli.settings import Settings, options
from ipeql.errors import ExitCode, NotRunningError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console, RenderableType


@click.command()
@options
@click.argument("bundle", required=False, shell_complete=completion.bundles)
@click.option("--watch", is_flag=True, help="Show the status every second until Ctrl-C.")
@click.pass_obj
def status(settings: Settings, bundle: str | None, watch: bool) -> None:
    """Show the state of the bundles and their slaves.

    A bundle is ready, degraded (fewer usable slaves than min-slaves, or a
    setting keeps packets from passing), down (no usable slave) or failed (it
    could not be made). Slaves that have a probe are listed with their paths
    too, see `ipeql paths`. If one is down or failed, the exit status is 3.
    Without the daemon the command reads the kernel and the dataplanes.

    \b
    Example: ipeql status ipeql0 --watch
    """
    shown = document(settings, bundle, aloud=True)
    if watch:
        from ipeql.cli.reading.watch import watch as keep_showing

        keep_showing(
            lambda: document(settings, bundle), shown, _drawn, _print, as_json=settings.json
        )
        return
    if settings.json:
        print_json(shown)
    else:
        _print(shown)
    if any(each["state"] in ("down", "failed") for each in shown["bundles"]):
        sys.exit(ExitCode.DOWN)


def document(settings: Settings, bundle: str | None, aloud: bool = False) -> dict[str, Any]:
    """Return the status document, of ``bundle`` alone where one is named.

    Without the daemon it is read from the kernel; ``aloud``: that is said.
    """
    from ipeql.cli import client

    try:
        shown = client.call("Describe")
    except NotRunningError:
        from ipeql.cli import local

        if aloud:
            remark("the daemon is not running; this is read from the kernel and the files")
        shown = local.describe(settings.load())
    return shown | {"bundles": pick(shown["bundles"], [bundle] if bundle else [])}


def _print(shown: "Mapping[str, Any]") -> None:
    from ipeql.cli.reading import screen

    for problem in shown["problems"]:
        click.echo(Problem.from_json(problem).render(), err=True)
    if changed := shown.get("changed_files"):
        names = ", ".join(changed)
        remark(f"not in force yet: {names}; 'ipeql plan' shows what 'ipeql reload' would do")
    if not shown["bundles"]:
        remark("no bundle is configured")
    screen.write(_drawn(shown, screen.console()))


def _drawn(shown: "Mapping[str, Any]", console: "Console") -> "RenderableType":
    from ipeql.cli.reading import screen

    bars, wide = screen.room_for_bars(console), screen.is_wide(console)
    return screen.status_table(shown["bundles"], bars, wide, time.monotonic_ns())
