"""The command: its verbs, and the output of every error."""

import json
import sys

import click

from ipeql.cli.changing.apply import apply
from ipeql.cli.changing.enslave import enslave
from ipeql.cli.changing.free import free
from ipeql.cli.changing.reload import reload
from ipeql.cli.changing.revert import revert
from ipeql.cli.changing.set import set_
from ipeql.cli.output import report_fault
from ipeql.cli.reading.check import check
from ipeql.cli.reading.example import example
from ipeql.cli.reading.metrics import metrics
from ipeql.cli.reading.monitor import monitor
from ipeql.cli.reading.paths import paths
from ipeql.cli.reading.ping import ping
from ipeql.cli.reading.plan import plan
from ipeql.cli.reading.record import record
from ipeql.cli.reading.schema import schema
from ipeql.cli.reading.show import show
from ipeql.cli.reading.status import status
from ipeql.cli.reading.version import version
from ipeql.cli.reading.wait_online import wait_online
from ipeql.cli.settings import Settings, options
from ipeql.errors import IpeqlError

EPILOG = """\b
Exit status: 0 done, 1 error, 2 wrong usage, 4 configuration invalid,
5 a change was refused, 7 not authorised, 8 daemon not running,
9 no such bundle, 10 changes (plan --exit-code).

\b
Completion, for bash (zsh and fish likewise), in ~/.bashrc:
  eval "$(_IPEQL_COMPLETE=bash_source ipeql)"
"""


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@options
def ipeql() -> None:
    """Stripe the IP packets of one interface over several links.

    \b
    Configuration is read from /etc/ipeql/*.yaml; the daemon ipeqld applies it.
      ipeql example     print files to begin with
      ipeql check       find mistakes in the configuration
      ipeql plan        show what a reload would change
      ipeql reload      let the daemon apply it
      ipeql status      show the state of the bundles
    """


_READING = (
    *(example, check, plan, show, schema),
    *(status, paths, record, ping, monitor, metrics, wait_online, version),
)
_CHANGING = (apply, reload, enslave, free, set_, revert)

for verb in (*_READING, *_CHANGING):
    ipeql.add_command(verb)


def main() -> None:
    """Run the command and exit with its status; a bug prints a message, never a traceback."""
    settings = Settings()
    try:
        ipeql(prog_name="ipeql", obj=settings)
    except IpeqlError as error:
        if settings.json:
            problems = [problem.to_json() for problem in error.problems]
            failure = {"problems": problems, "exit_code": int(error.exit_code)}
            click.echo(json.dumps({"error": failure}, indent=2))
        else:
            click.echo(str(error), err=True)
        sys.exit(error.exit_code)
    except Exception as error:
        report_fault(error)
        sys.exit(1)
