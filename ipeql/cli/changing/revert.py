"""``ipeql revert``."""

import click

from ipeql.cli import completion
from ipeql.cli.settings import Settings, options


@click.command()
@options
@click.argument("bundle", required=False, default="", shell_complete=completion.bundles)
@click.pass_context
def revert(context: click.Context, bundle: str) -> None:
    """Give up the transient changes: let the files alone decide again.

    Of one bundle where it is named, of all otherwise. What --save has written
    stays.

    \b
    Example: ipeql revert ipeql0
    """
    from ipeql.cli import client
    from ipeql.cli.done import show_plan

    settings = context.ensure_object(Settings)
    client.same_files(settings)
    result = client.call("Revert", client.PASS_TIMEOUT_S, bundle=bundle)
    context.exit(show_plan(settings, result))
