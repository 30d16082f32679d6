"""``ipeql show``."""

import contextlib
from typing import Any

import click

from ipeql.cli.names import complete, no_such_bundle
from ipeql.cli.output import print_json
from ipeql.cli.settings import Settings, options
from ipeql.errors import NotFoundError, NotRunningError


@click.command()
@options
@click.argument("bundle", shell_complete=complete)
@click.pass_obj
def show(settings: Settings, bundle: str) -> None:
    """Print the configuration of a bundle, all defaults filled in.

    Comments say where each part stands. It is the configuration that the daemon
    uses; without the daemon, or with --config, that of the files.

    \b
    Example: ipeql show ipeql0
    """
    shown = _configuration(settings, bundle)
    if settings.json:
        print_json(shown)
    else:
        click.echo(as_yaml(shown), nl=False)


def _configuration(settings: Settings, bundle: str) -> dict[str, Any]:
    from ipeql.cli import client
    from ipeql.report.configuration import configuration

    if not settings.config:
        with contextlib.suppress(NotRunningError):
            return client.call("Show", bundle=bundle)
    bundles = settings.load().bundles
    if bundle not in bundles:
        raise NotFoundError(no_such_bundle(bundle, bundles))
    return configuration(bundles[bundle])


def as_yaml(shown: dict[str, Any]) -> str:
    """Write a configuration as the file it could have come from, with its places as comments."""
    configuration = shown["configuration"]
    lines = ["version: 1", "bundles:", f"  {shown['name']}:{_place(shown, shown['line'])}"]
    for key, value in configuration.items():
        if key != "slaves":
            lines.append(f"    {key}: {_flow(value)}")
    lines.append("    slaves:" if configuration["slaves"] else "    slaves: []")
    for slave, line in zip(configuration["slaves"], shown["slave_lines"], strict=True):
        lines.append(f"      - {_flow(slave)}{_place(shown, line)}")
    return "\n".join(lines) + "\n"


def _flow(value: object) -> str:
    import yaml

    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6)
    return text.removesuffix("...\n").strip()


def _place(shown: dict[str, Any], line: int) -> str:
    return f"  # {shown['file']}:{line}" if line else ""
