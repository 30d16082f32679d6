"""``ipeql metrics``."""

import click

from ipeql.cli.reading.status import document
from ipeql.cli.settings import Settings, options


@click.command()
@options
@click.pass_obj
def metrics(settings: Settings) -> None:
    """Print the metrics, for the textfile collector of node_exporter.

    It is the text format of Prometheus. The daemon can serve the same by HTTP,
    see `metrics` in ipeql.yaml(5). The same data as JSON is that of
    `ipeql status --json`. Without the daemon the command reads the kernel and
    the dataplanes.

    \b
    Example: ipeql metrics | sponge /var/lib/prometheus/node-exporter/ipeql.prom
    """
    from ipeql.documents.metrics import families
    from ipeql.documents.openmetrics import TEXT, exposition

    if settings.json:
        raise click.UsageError("the metrics as JSON are what ipeql status --json prints")
    click.echo(exposition(families(document(settings, None, aloud=True)), TEXT), nl=False)
