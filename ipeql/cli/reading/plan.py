"""``ipeql plan``."""

import contextlib
from typing import Any

import click

from ipeql.cli.settings import Settings, options
from ipeql.errors import ExitCode, NotRunningError


@click.command()
@options
@click.option("--exit-code", is_flag=True, help="Exit with status 10 if there are changes.")
@click.pass_context
def plan(context: click.Context, exit_code: bool) -> None:
    """Show what a reload would change. Change nothing.

    The daemon reads its files again and answers. Without the daemon, or if
    --config has other files, the command reads the machine itself.

    \b
    Example: ipeql plan
      ~ configure ipeql0: slave eth2 bandwidth 5Mbit -> 10Mbit
    """
    from ipeql.cli.done import show_plan

    settings = context.ensure_object(Settings)
    shown = _plan(settings)
    status = show_plan(settings, shown)
    if status is ExitCode.OK and exit_code and shown["actions"]:
        status = ExitCode.CHANGES
    context.exit(status)


def _plan(settings: Settings) -> dict[str, Any]:
    from ipeql.cli import client, local

    with contextlib.suppress(NotRunningError):
        if client.has_files_of(settings):
            return client.call("Plan")
    return local.plan(settings.load())
