"""``ipeql record``."""

import contextlib
import importlib.util
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, BinaryIO, TextIO

import click

from ipeql.cli import completion
from ipeql.cli.output import counted, remark
from ipeql.cli.settings import Settings, options
from ipeql.errors import Code, IpeqlError, Problem
from ipeql.units import parse_time

if TYPE_CHECKING:
    from ipeql.cli.reading.recorded import Sample

EVERY = 100_000_000
"""ns from one look at the paths to the next."""


def _nanoseconds(context: click.Context, parameter: click.Parameter, text: str) -> int:
    try:
        return parse_time(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@options
@click.argument("bundle", shell_complete=completion.bundles)
@click.option(
    "--for",
    "duration",
    metavar="TIME",
    callback=_nanoseconds,
    default="60s",
    show_default=True,
    help="Stop after that time; Ctrl-C stops earlier.",
)
@click.option(
    "--output",
    metavar="FILE.csv",
    type=click.File("w", encoding="utf-8", lazy=False),
    default="-",
    help="Write the rows to FILE.csv instead of standard output.",
)
@click.option(
    "--plot",
    metavar="FILE.png",
    type=click.File("wb", lazy=False),
    help="Draw rate, delay and state into FILE.png. Needs matplotlib.",
)
@click.pass_obj
def record(
    settings: Settings, bundle: str, duration: int, output: TextIO, plot: BinaryIO | None
) -> None:
    """Record what is known of the paths of a bundle, over time, as CSV.

    Ten rows a second for each slave that has a probe. believed_bps is what
    the path is believed to carry, delivered_bps what arrived of late of what
    was sent; queue_ms is what waits in the path. --json writes an object a
    line instead. What was recorded before a fault is kept and drawn. Attach
    both files to a report of a problem.

    \b
    Example: ipeql record ipeql0 --for 30s --output rates.csv --plot rates.png
    """
    from ipeql.cli.reading.recorded import table

    if plot and not importlib.util.find_spec("matplotlib"):
        raise IpeqlError(_cannot_draw())
    kept: list[Sample] = []
    try:
        with contextlib.suppress(KeyboardInterrupt), _writing(output.name):
            write = _lines(output) if settings.json else table(output)
            for sample in _looked(bundle, duration):
                write(sample)
                output.flush()
                kept.append(sample)
    finally:
        if plot and kept:
            from ipeql.cli.reading.picture import draw

            with _writing(plot.name):
                draw(plot, bundle, kept)
                plot.flush()
    if output.name != "<stdout>":
        remark(f"{counted(len(kept), 'row')} in {output.name}")


@contextlib.contextmanager
def _writing(name: str) -> Iterator[None]:
    """Raise IpeqlError instead of OSError; what is not written yet is dropped."""
    try:
        yield
    except OSError as error:
        message = f"cannot write {name}: {error.strerror or error}"
        help = "free some space there, or name another file"
        raise IpeqlError(Problem(Code.CANNOT_WRITE, message, help)) from error


def _looked(bundle: str, duration: int) -> Iterator["Sample"]:
    """Look at the paths again and again for ``duration`` ns."""
    from ipeql.cli import client
    from ipeql.cli.reading.recorded import samples

    begin = due = time.monotonic_ns()
    while due <= begin + duration:
        time.sleep(max(0, due - time.monotonic_ns()) / 1e9)
        yield from samples(client.call("Paths", bundle=bundle), begin)
        due = max(due + EVERY, time.monotonic_ns())


def _lines(output: TextIO) -> Callable[["Sample"], None]:
    return lambda sample: click.echo(json.dumps(asdict(sample)), file=output)


def _cannot_draw() -> Problem:
    help = "apt install python3-matplotlib, or pip install 'ipeql[plot]', or leave out --plot"
    return Problem(Code.CANNOT_DRAW, "--plot needs matplotlib, which is not installed", help)
