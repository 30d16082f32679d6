"""``ipeql schema``."""

import click

from ipeql.cli.output import print_json
from ipeql.cli.settings import options


@click.command()
@options
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors.

    \b
    Example: ipeql schema > ~/.config/ipeql.schema.json
    and as the first line of a configuration file
      # yaml-language-server: $schema=/home/me/.config/ipeql.schema.json
    """
    from ipeql.config import json_schema

    print_json(json_schema())
