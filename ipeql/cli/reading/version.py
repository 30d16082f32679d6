"""``ipeql version``."""

import click

from ipeql import __version__
from ipeql.cli.output import print_json
from ipeql.cli.settings import Settings, options


@click.command()
@options
@click.pass_obj
def version(settings: Settings) -> None:
    """Print the version of this command.

    \b
    Example: ipeql version
    """
    if settings.json:
        print_json({"version": __version__})
    else:
        click.echo(f"ipeql {__version__}")
