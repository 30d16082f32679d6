"""``ipeql check``."""

from pathlib import Path

import click

from ipeql.cli.output import counted, print_json, remark
from ipeql.cli.settings import Settings, options


@click.command()
@options
@click.argument("files", metavar="[FILE...]", nargs=-1, type=click.Path(path_type=Path))
@click.pass_obj
def check(settings: Settings, files: tuple[Path, ...]) -> None:
    """Read the configuration and print all mistakes.

    Needs neither the daemon nor root, and changes nothing. Without FILE it
    checks the files that the daemon would read.

    \b
    Example: ipeql check new.yaml && sudo cp new.yaml /etc/ipeql/
    """
    from ipeql.config import find_files, load, with_remarks

    paths = list(files) or find_files(settings.directories)
    if not paths:
        remark(f"no *.yaml in {', '.join(map(str, settings.directories))}")
    desired = with_remarks(load(paths), () if files else settings.directories)
    for problem in desired.problems:
        click.echo(problem.render(), err=True)
    bundles = desired.bundles.values()
    slaves = sum(len(bundle.slaves) for bundle in bundles)
    if settings.json:
        print_json(
            {
                "bundles": len(bundles),
                "slaves": slaves,
                "problems": [problem.to_json() for problem in desired.problems],
            }
        )
    else:
        click.echo(f"ok: {counted(len(bundles), 'bundle')}, {counted(slaves, 'slave')}")
