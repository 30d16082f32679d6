"""``ipeql schema``."""

import click

from ipeql.cli.output import print_json
from ipeql.cli.settings import options
from ipeql.documents.schemas import DOCUMENTS
from ipeql.documents.schemas import schema as schema_of

CONFIGURATION = "configuration"


@click.command()
@options
@click.argument(
    "of", metavar="[NAME]", type=click.Choice((CONFIGURATION, *DOCUMENTS)), default=CONFIGURATION
)
def schema(of: str) -> None:
    """Print a JSON Schema: of the configuration, for editors, or of a document.

    NAME is "configuration", the default, or one that programs read: "status"
    and "plan" are what these commands print with --json, "event" is a line of
    "ipeql monitor --json".

    \b
    Example: ipeql schema > ~/.config/ipeql.schema.json
    and as the first line of a configuration file
      # yaml-language-server: $schema=/home/me/.config/ipeql.schema.json
    """
    from ipeql.config import json_schema

    print_json(json_schema() if of == CONFIGURATION else schema_of(of))
