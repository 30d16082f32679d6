"""``ipeql reload``."""

import click

from ipeql.cli.settings import Settings, options


@click.command()
@options
@click.pass_context
def reload(context: click.Context) -> None:
    """Let the daemon read its files again and apply them.

    Waits until it has. A configuration with errors changes nothing: they are
    printed, and the running bundles carry on.

    \b
    Example: sudoedit /etc/ipeql/home.yaml && sudo ipeql reload
    """
    from ipeql.cli import client
    from ipeql.cli.done import show_plan

    settings = context.ensure_object(Settings)
    client.same_files(settings)
    result = client.call("Reload", client.PASS_TIMEOUT_S)
    context.exit(show_plan(settings, result))
