"""``ipeql apply``."""

import click

from ipeql.cli.settings import Settings, options
from ipeql.errors import NotRunningError


@click.command()
@options
@click.pass_context
def apply(context: click.Context) -> None:
    """Make the machine as the configuration says.

    Waits until it is. The daemon applies the configuration it uses (reload
    reads the files first). Without the daemon the files are read and applied
    once; bundles on tun then have to run already.

    \b
    Example: sudo ipeql apply
    """
    from ipeql.cli import client
    from ipeql.cli.done import show_plan

    settings = context.ensure_object(Settings)
    try:
        client.same_files(settings)
        result = client.call("Apply", client.PASS_TIMEOUT_S)
    except NotRunningError:
        from ipeql.cli import local

        result = local.apply(settings.load())
    context.exit(show_plan(settings, result))
