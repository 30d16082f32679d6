"""``ipeql plan``."""

import contextlib
from typing import Any

import click

from ipeql.cli.settings import Settings, options
from ipeql.errors import ExitCode, NotRunningError


@click.command()
@options
@click.option("--exit-code", is_flag=True, help="End with status 10 where there are changes.")
@click.pass_context
def plan(context: click.Context, exit_code: bool) -> None:
    """Show what an apply would change; change nothing.

    The daemon is asked, about its files as they are now. Without the daemon,
    or with --config of other files, the machine is read directly.

    \b
    Example: ipeql plan
      ~ configure ipeql0: slave eth2 bandwidth 5Mbit -> 10Mbit
    """
    from ipeql.cli.done import show_changes

    settings = context.ensure_object(Settings)
    shown = _plan(settings)
    status = show_changes(settings, shown)
    if status is ExitCode.OK and exit_code and shown["actions"]:
        status = ExitCode.CHANGES
    context.exit(status)


def _plan(settings: Settings) -> dict[str, Any]:
    from ipeql.cli import client, local

    with contextlib.suppress(NotRunningError):
        if client.has_files_of(settings):
            return client.call("Plan")
    return local.plan(settings.load())
