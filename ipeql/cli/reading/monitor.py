"""``ipeql monitor``."""

import contextlib
import json
import time

import click

from ipeql.cli.settings import Settings, options


@click.command()
@options
@click.pass_obj
def monitor(settings: Settings) -> None:
    """Print one line per event until Ctrl-C.

    \b
    Example: ipeql monitor
      06:31:09 ipeql0/eth1 slave: no-carrier
    """
    from ipeql.cli import client

    with contextlib.suppress(KeyboardInterrupt):
        for event in client.events():
            if settings.json:
                click.echo(json.dumps(event))
                continue
            subject = "/".join(event[key] for key in ("bundle", "slave") if event.get(key))
            words = filter(None, (subject, f"{event.get('event', '')}:", event.get("message")))
            click.echo(f"{time.strftime('%H:%M:%S')} {' '.join(words)}")
