"""How ``plan``, ``apply`` and ``reload`` show the changes of a pass, and end."""

from typing import Any

import click

from ipeql.cli.output import print_json
from ipeql.cli.settings import Settings
from ipeql.errors import Code, ExitCode, Problem
from ipeql.plan import traffic

_FAILURES = {Code.APPLY_FAILED, Code.NOT_IN_SYNC, Code.UNDO_FAILED, Code.BACKEND_LOST}

ONLY_TOLD = traffic.CODES - {Code.FILTER_REFUSED}
"""The configuration is applied in spite of these: a reload does not fail."""


def show_plan(settings: Settings, shown: dict[str, Any]) -> ExitCode:
    """Print the changes on stdout and the problems on stderr; return the status to end with."""
    problems = [Problem.from_json(problem) for problem in shown["problems"]]
    if settings.json:
        print_json(shown)
    else:
        for action in shown["actions"]:
            click.echo(action["text"])
        for problem in problems:
            click.echo(problem.render(), err=True)
        if not shown["actions"] and not problems:
            click.echo("nothing to do")
    if any(problem.code in _FAILURES for problem in problems):
        return ExitCode.APPLY_FAILED
    told = all(problem.code in ONLY_TOLD for problem in problems)
    return ExitCode.OK if told else ExitCode.ERROR
