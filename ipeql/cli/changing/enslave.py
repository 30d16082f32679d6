"""``ipeql enslave``."""

import click

from ipeql.cli.changing.change import make, save_option
from ipeql.cli.names import complete
from ipeql.cli.settings import Settings, options


@click.command()
@options
@click.argument("bundle", shell_complete=complete)
@click.argument("slave")
@click.option("--bandwidth", metavar="RATE", help="What the path carries, or auto.")
@click.option("--lag", metavar="TIME", help="One-way delay of the path.")
@click.option("--overhead", metavar="BYTES", type=int, help="Added to every IP packet.")
@click.option("--via", metavar="ADDRESS", help="IPv4 next hop on this link.")
@click.option("--via6", metavar="ADDRESS", help="IPv6 next hop on this link.")
@save_option
@click.pass_context
def enslave(
    context: click.Context, /, bundle: str, slave: str, save: bool, **keys: str | int | None
) -> None:
    """Let a bundle stripe over one more link.

    A slave of that name is replaced. The change is transient: it outlives a
    reload and the daemon, and ends with `ipeql revert` or a restart of the
    machine. --save makes it permanent.

    \b
    Example: ipeql enslave ipeql0 eth3 --bandwidth 20Mbit --lag 15ms
    """
    from ipeql.cli.done import show_changes

    given = {key: value for key, value in keys.items() if value is not None}
    settings = context.ensure_object(Settings)
    change = {"bundle": bundle, "enslave": {"name": slave, **given}}
    context.exit(show_changes(settings, make(settings, change, save)))
