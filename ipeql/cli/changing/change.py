"""How ``enslave``, ``free``, ``set`` and ``revert`` have a change made."""

import contextlib
from typing import Any

import click

from ipeql.cli.output import remark
from ipeql.cli.settings import Settings
from ipeql.errors import ConfigError, NotRunningError

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
    from ipeql.cli import local
    from ipeql.config import parse_change
    from ipeql.config.changes.change import to_data
    from ipeql.config.changes.saved import save as write

    parsed = parse_change(change)
    with contextlib.suppress(ConfigError):  # told when the files are read
        parsed = local.by_label(settings.load(), parsed)
    path = write(settings.directories, parsed)
    try:
        return client.call("Change", client.PASS_TIMEOUT_S, change=to_data(parsed), saved=True)
    except NotRunningError:
        remark(f"the daemon is not running: {path} is for its next start")
        return {"schema": "ipeql-plan/1", "actions": [], "problems": []}
