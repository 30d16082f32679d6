"""``ipeql-enslave``: the command line of ``eql_enslave`` and ``ifenslave``, for bundles.

Called ``eql_enslave`` it takes that program's three arguments alone, called ``ifenslave`` it takes
every argument after the first for a slave, and called ``eql_emancipate`` it frees. Sources:
eql_enslave.c (Simon Janes, 1995); ifenslave.c 1.1.0 (Linux 2.6, Documentation/networking). Exit
statuses as theirs: 0 done, 1 error, and for wrong usage 2, but 1 as ``eql_enslave``.
"""

import re
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from ipeql.cli.changing.change import make
from ipeql.cli.changing.set import assignment
from ipeql.cli.done import ONLY_TOLD
from ipeql.cli.names import pick
from ipeql.cli.output import remark, report_fault
from ipeql.cli.settings import Settings
from ipeql.errors import Code, IpeqlError, NotFoundError, Problem

FORMS = """\b
ipeql-enslave MASTER SLAVE BITS_PER_SECOND       enslave
ipeql-enslave [-f] [-v] MASTER SLAVE...          enslave, at the speeds the drivers report
ipeql-enslave -d [-v] MASTER SLAVE...            free
ipeql-enslave [--method M] [--set K=V]... MASTER [SLAVE]
ipeql-enslave MASTER | -a                        show
"""

_ALONE = ("all_interfaces", "change_active", "detach", "force", "help_", "version")
_BITS_PER_SECOND = re.compile(r"\d+(\.\d+)?[kKmMgG]?")


@click.command(add_help_option=False, epilog=FORMS, options_metavar="")
@click.option("-a", "--all-interfaces", is_flag=True, help="Show every bundle.")
@click.option("-c", "--change-active", is_flag=True, help="Refused: all slaves are active.")
@click.option("-d", "--detach", is_flag=True, help="Free the slaves.")
@click.option("-f", "--force", is_flag=True, help="Accepted: any link that carries IP can serve.")
@click.option("-h", "--help", "-u", "--usage", "help_", is_flag=True, help="Show this help.")
@click.option("-v", "--verbose", is_flag=True, help="Print every action on stderr.")
@click.option("-V", "--version", is_flag=True, help="Show the version.")
@click.option("--method", metavar="METHOD", help="Stripe by this method.")
@click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="Set a parameter.")
@click.option("--save", is_flag=True, help="Keep the change in /etc/ipeql/saved.yaml.")
@click.argument("names", metavar="MASTER SLAVE...", nargs=-1)
@click.pass_context
def ipeql_enslave(context: click.Context, /, **options: Any) -> None:
    """Enslave links to a bundle, free them, set its method, or show it.

    Changes are transient without --save: see ipeql(1).
    """
    called = Path(context.info_name or "").name
    if called == "eql_enslave" and (len(options["names"]) != 3 or _given(options)):
        raise click.UsageError("eql_enslave MASTER SLAVE BITS_PER_SECOND")
    if sum(options[name] for name in _ALONE) > 1:
        raise click.UsageError("only one of -a, -c, -d, -f, -h, -V")
    if called in ("eql_emancipate", "ipeql-emancipate"):
        options["detach"] = True
    if options["help_"]:
        click.echo(context.get_help())
    elif options["version"]:
        from ipeql import __version__

        click.echo(f"ipeql-enslave {__version__}")
    elif options["change_active"]:
        help = "to use only one, free the others: ipeql-enslave -d MASTER SLAVE..."
        raise IpeqlError(Problem(Code.BAD_REQUEST, "every slave of a bundle is active", help))
    else:
        context.exit(_run(called, options, options["names"]))


def _given(options: dict[str, Any]) -> bool:
    return any(value for name, value in options.items() if name != "names")


def _run(called: str, options: dict[str, Any], names: Sequence[str]) -> int:
    if options["all_interfaces"]:
        if names or options["detach"]:
            raise click.UsageError("-a takes no other arguments")
        return _show([])
    if not names:
        raise click.UsageError("MASTER is missing")
    master, *slaves = names
    if options["method"] or options["assignments"]:
        return _make([_settings(options, master, slaves)], options)
    if not slaves:
        if options["detach"]:
            raise click.UsageError("SLAVE is missing")
        return _show([master])
    if options["detach"]:
        return _make([{"bundle": master, "free": slave} for slave in slaves], options)
    eql = called == "eql_enslave" or (called != "ifenslave" and not options["force"])
    if eql and len(slaves) == 2 and _BITS_PER_SECOND.fullmatch(slaves[1]):
        return _make([_enslave(master, slaves[0], f"{slaves[1]}bit")], options)
    if called == "eql_enslave":
        raise click.UsageError(f"expected bits per second, such as 28800, found {slaves[1]}")
    return _make([_enslave(master, slave, "device") for slave in slaves], options)


def _enslave(master: str, slave: str, bandwidth: str) -> dict[str, Any]:
    return {"bundle": master, "enslave": {"name": slave, "bandwidth": bandwidth}}


def _settings(options: dict[str, Any], master: str, slaves: list[str]) -> dict[str, Any]:
    keys = dict(map(assignment, options["assignments"]))
    if options["method"]:
        keys["method"] = options["method"]
    if len(slaves) > 1 or options["detach"]:
        raise click.UsageError("--method and --set take MASTER, or --set MASTER and one SLAVE")
    if slaves:
        return {"bundle": master, "set-slave": {"name": slaves[0], **keys}}
    return {"bundle": master, "set": keys}


def _make(changes: Sequence[dict[str, Any]], options: dict[str, Any]) -> int:
    """Make each change; one that fails does not keep the others from being made."""
    failed = False
    for change in changes:
        try:
            if "enslave" in change:
                _check_link(change["enslave"]["name"])
            done = make(Settings(), change, options["save"])
        except IpeqlError as error:
            click.echo(str(error), err=True)
            failed = True
            continue
        for problem in done["problems"]:
            failed |= problem["code"] not in ONLY_TOLD
            click.echo(Problem.from_json(problem).render(), err=True)
        if options["verbose"]:
            for action in done["actions"]:
                remark(action["text"])
    return int(failed)


def _check_link(name: str) -> None:
    try:
        socket.if_nametoindex(name)
    except OSError:
        help = "to enslave it when it appears: ipeql enslave"
        raise NotFoundError(Problem(Code.NO_SUCH_SLAVE, f"{name}: no such link", help)) from None


def _show(names: Sequence[str]) -> int:
    from ipeql.cli import client

    for bundle in pick(client.call("Describe")["bundles"], names):
        click.echo("\n".join(describe(bundle)))
    return 0


def describe(bundle: dict[str, Any]) -> Iterator[str]:
    """Yield the lines that show one bundle of the status document."""
    from ipeql.cli.reading.classes import in_words
    from ipeql.cli.reading.figures import rate
    from ipeql.units import format_rate, format_time

    usable = f"{bundle['usable_slaves']} of {len(bundle['slaves'])} slaves usable"
    yield f"{bundle['name']}: {bundle['state']}, {usable}"
    yield " ".join((f"  method {bundle['method']}", *map(_parameter, bundle["parameters"].items())))
    if classes := in_words(bundle.get("classes", ())):
        yield f"  classes: {classes}"
    for slave in bundle["slaves"]:
        words = [f"  {slave['name'] or slave['label']}: {slave['state']}"]
        if bandwidth := slave["bandwidth_bps"]:
            write = rate if slave["bandwidth_measured"] else format_rate
            words.append(f"bandwidth {write(bandwidth)}")
        words += [] if slave["lag_ns"] is None else [f"lag {format_time(slave['lag_ns'])}"]
        yield ", ".join(filter(None, (*words, slave["reason"])))


def _parameter(item: tuple[str, Any]) -> str:
    from ipeql.units import format_time

    name, value = item
    shown = format_time(value) if name.endswith("_ns") else value
    return f"{name.removesuffix('_ns').replace('_', '-')}={shown}"


def main() -> None:
    """Run the command under the name it was called by, and exit with its status."""
    called = Path(sys.argv[0]).name
    run: Callable[..., int | None] = ipeql_enslave.main
    try:
        sys.exit(run(prog_name=called, standalone_mode=False))
    except click.UsageError as error:
        click.echo(f"{called}: {error.format_message()}\n\n{FORMS[2:]}", err=True, nl=False)
        sys.exit(1 if called == "eql_enslave" else 2)
    except IpeqlError as error:
        click.echo(str(error), err=True)
    except Exception as error:
        report_fault(error)
    sys.exit(1)
