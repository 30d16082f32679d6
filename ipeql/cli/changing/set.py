"""``ipeql set``."""

import click

from ipeql.cli import completion
from ipeql.cli.changing.change import make, save_option
from ipeql.cli.settings import Settings, options


@click.command("set")
@options
@click.argument("target", metavar="BUNDLE[/SLAVE]", shell_complete=completion.targets)
@click.argument(
    "assignments",
    metavar="KEY=VALUE...",
    nargs=-1,
    required=True,
    shell_complete=completion.assignments,
)
@save_option
@click.pass_context
def set_(context: click.Context, target: str, assignments: tuple[str, ...], save: bool) -> None:
    """Set keys of a bundle, or of one of its slaves.

    The keys are those of a file (ipeql.yaml(5)), but for the backend, the
    addresses, the routes and the list of slaves. Another method drops the
    parameters that are not for it. The change is transient as that of
    `ipeql enslave` is, unless it is saved.

    \b
    Example: ipeql set ipeql0 method=bw_lag_eq max-hold=200ms
             ipeql set ipeql0/eth1 bandwidth=20Mbit
             ipeql set ipeql0 probe='{to: 10.9.0.2}'
    """
    from ipeql.cli.done import show_plan

    bundle, _, slave = target.partition("/")
    values = dict(assignment(text) for text in assignments)
    doing = {"set-slave": {"name": slave, **values}} if slave else {"set": values}
    settings = context.ensure_object(Settings)
    context.exit(show_plan(settings, make(settings, {"bundle": bundle} | doing, save)))


def assignment(text: str) -> tuple[str, object]:
    """Return the key and the value of ``KEY=VALUE``, as a file would mean them; or ConfigError."""
    from ipeql.config.yaml.reader import YamlFile, resolve
    from ipeql.errors import ConfigError

    key, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"expected KEY=VALUE, found {text!r}")
    if value.startswith(("{", "[")):
        file = YamlFile(key, value)
        if file.problems:
            raise ConfigError(file.problems)
        return key, file.data
    meant = resolve(value)
    return key, meant if isinstance(meant, int) else value
