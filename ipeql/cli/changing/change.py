"""How ``enslave``, ``free``, ``set`` and ``revert`` have a change made."""

from typing import Any

import click

from ipeql.cli.output import remark
from ipeql.cli.settings import Settings
from ipeql.errors import NotRunningError

save_option = click.option(
    "--save", is_flag=True, help="Write the change to saved.yaml in /etc/ipeql, or in DIR."
)


def make(settings: Settings, change: dict[str, Any], save: bool) -> dict[str, Any]:
    """Have ``change`` made, in the keys and spellings of a file, and return what that did.

    Without ``save`` it is transient, and needs the daemon.
    """
    from ipeql.cli import client

    if not save:
        client.same_files(settings)
        return client.call("Change", client.PASS_TIMEOUT_S, change=change)
    from ipeql.config import parse_change
    from ipeql.config.changes.saved import save as write

    path = write(settings.directories, parse_change(change))
    try:
        return client.call("Change", client.PASS_TIMEOUT_S, change=change, saved=True)
    except NotRunningError:
        remark(f"the daemon is not running: {path} is for its next start")
        return {"schema": "ipeql-plan/1", "actions": [], "problems": []}
