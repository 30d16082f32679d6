"""``ipeql enslave``."""

from collections.abc import Iterator

import click

from ipeql.cli import completion
from ipeql.cli.changing.change import make, save_option
from ipeql.cli.settings import Settings, options


class Enslave(click.Command):
    """The verb, with an option for every key of a slave.

    They are made when they are asked for: the table of keys takes a while to load.
    """

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the options and arguments."""
        return [*super().get_params(ctx), *key_options()]


def key_options() -> Iterator[click.Option]:
    """Yield the options that are keys of a slave."""
    from ipeql.config.schema.kinds import kinds
    from ipeql.config.schema.model import Slave

    for name, kind in kinds(Slave).items():
        if name != "name":
            meaning = Slave.model_fields[name].description or ""
            help = f"{meaning[:1].upper()}{meaning[1:]}."
            option = f"--{name.replace('_', '-')}"
            yield click.Option(
                [option],
                metavar=kind.metavar,
                type=kind.option,
                help=help,
                shell_complete=completion.values_of(Slave, name),
            )


@click.command(cls=Enslave)
@options
@click.argument("bundle", shell_complete=completion.bundles)
@click.argument("slave", shell_complete=completion.links)
@save_option
@click.pass_context
def enslave(
    context: click.Context, /, bundle: str, slave: str, save: bool, **keys: str | int | bool | None
) -> None:
    """Let a bundle stripe over one more link.

    A slave of that name is replaced. The change is transient: it outlives a
    reload and the daemon, and ends with `ipeql revert` or a restart of the
    machine. --save makes it permanent.

    \b
    Example: ipeql enslave ipeql0 eth3 --bandwidth 20Mbit --lag 15ms
    """
    from ipeql.cli.done import show_plan

    given = {key.replace("_", "-"): value for key, value in keys.items() if value is not None}
    settings = context.ensure_object(Settings)
    change = {"bundle": bundle, "enslave": {"name": slave, **given}}
    context.exit(show_plan(settings, make(settings, change, save)))
