"""``ipeql free``."""

import click

from ipeql.cli import completion
from ipeql.cli.changing.change import make, save_option
from ipeql.cli.settings import Settings, options


@click.command()
@options
@click.argument("bundle", shell_complete=completion.bundles)
@click.argument("slave", shell_complete=completion.slaves)
@save_option
@click.pass_context
def free(context: click.Context, bundle: str, slave: str, save: bool) -> None:
    """Let a bundle stripe over a link no more.

    SLAVE is its name, or the pattern of its match. The change is transient as
    that of `ipeql enslave` is, unless it is saved.

    \b
    Example: ipeql free ipeql0 eth3
    """
    from ipeql.cli.done import show_plan

    settings = context.ensure_object(Settings)
    shown = make(settings, {"bundle": bundle, "free": slave}, save)
    context.exit(show_plan(settings, shown))
