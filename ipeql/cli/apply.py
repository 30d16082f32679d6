"""``ipeql apply``."""

import click

from ipeql.cli.settings import Settings, options
from ipeql.errors import NotRunningError


@click.command()
@options
@click.pass_context
def apply(context: click.Context) -> None:
    """Make the machine as the configuration says; wait until it is.

    With the daemon, it runs a pass over the configuration it uses (reload
    reads the files first). Without, the files are read and applied once, for
    bundles whose dataplane lives in the kernel.

    \b
    Example: sudo ipeql apply
    """
    from ipeql.cli import client
    from ipeql.cli.changes import show_changes

    settings = context.ensure_object(Settings)
    try:
        result = client.call("Apply", client.PASS_TIMEOUT_S)
    except NotRunningError:
        from ipeql.cli import local

        result = local.apply(settings.load())
    context.exit(show_changes(settings, result))
