"""``ipeql wait-online``."""

import time

import click

from ipeql.cli import completion
from ipeql.cli.names import pick
from ipeql.cli.output import print_json
from ipeql.cli.settings import Settings, options
from ipeql.errors import Code, IpeqlError, NotRunningError, Problem
from ipeql.units import parse_time

POLL_S = 0.25


def _nanoseconds(context: click.Context, parameter: click.Parameter, text: str) -> int:
    try:
        if text.endswith("min"):
            return parse_time(text.removesuffix("min") + "s") * 60
        return parse_time(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}, or 2min") from None


@click.command("wait-online")
@options
@click.argument("bundles", metavar="[BUNDLE...]", nargs=-1, shell_complete=completion.bundles)
@click.option("--timeout", metavar="TIME", callback=_nanoseconds, default="2min", show_default=True)
@click.pass_obj
def wait_online(settings: Settings, bundles: tuple[str, ...], timeout: int) -> None:
    """Wait until every BUNDLE is ready; without BUNDLE, until all are.

    Ready means here that min-slaves of its slaves are usable; the others may
    be absent. Exits with status 1 if the time is over.

    \b
    Example: ipeql wait-online ipeql0 --timeout 30s
    """
    deadline = time.monotonic_ns() + timeout
    while waiting := _waiting(bundles, deadline):
        if time.monotonic_ns() >= deadline:
            raise IpeqlError(waiting)
        time.sleep(POLL_S)
    if settings.json:
        print_json({"ready": True})


def _waiting(names: tuple[str, ...], deadline: int) -> list[Problem]:
    """Return what is missing: nothing, when every bundle is ready.

    A daemon that has just started may take its time for the first answer.
    """
    from ipeql.cli import client

    try:
        left = max((deadline - time.monotonic_ns()) / 10**9, client.ANSWER_TIMEOUT_S)
        bundles = pick(client.call("Describe", timeout=left)["bundles"], names)
    except NotRunningError as error:
        return list(error.problems)
    return [
        Problem(Code.TIMED_OUT, f"{bundle['name']} is {bundle['state']}: {bundle['reason']}")
        for bundle in bundles
        if bundle["state"] != "ready"
        and not (bundle["state"] == "degraded" and bundle["usable_slaves"] >= bundle["min_slaves"])
    ]
