"""``ipeql show``."""

import contextlib
from typing import Any

import click

from ipeql.cli import completion
from ipeql.cli.output import print_json
from ipeql.cli.settings import Settings, options
from ipeql.errors import NotFoundError, NotRunningError, no_such_bundle


@click.command()
@options
@click.argument("bundle", shell_complete=completion.bundles)
@click.pass_obj
def show(settings: Settings, bundle: str) -> None:
    """Print the configuration of a bundle, with all defaults.

    Comments give the file and line of each part, and what is transient. It
    is the configuration that the daemon uses. Without the daemon, or if
    --config has other files, it is the configuration of the files.

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
    from ipeql.documents.configuration import configuration

    with contextlib.suppress(NotRunningError):
        if client.has_files_of(settings):
            return client.call("Show", bundle=bundle)
    bundles = settings.load().bundles
    if bundle not in bundles:
        raise NotFoundError(no_such_bundle(bundle, bundles))
    return configuration(bundles[bundle])


def as_yaml(shown: dict[str, Any]) -> str:
    """Write a configuration as a file, with the location of each part as a comment."""
    configuration, changed = shown["configuration"], shown["changed"]
    location = f"{shown['file']}:{shown['line']}" if shown["line"] else ""
    lines = ["version: 1", "bundles:", f"  {shown['name']}:{_comment(location)}"]
    for key, value in configuration.items():
        if key != "slaves":
            lines.append(f"    {key}: {_flow(value)}{_comment(changed.get(key, ''))}")
    lines.append("    slaves:" if configuration["slaves"] else "    slaves: []")
    locations = (f"{shown['file']}:{line}" if line else "" for line in shown["slave_lines"])
    for slave, location, keys in zip(
        configuration["slaves"], locations, shown["slaves_changed"], strict=True
    ):
        lines.append(f"      - {_flow(slave)}{_comment(_slave_location(location, keys))}")
    lines += [f"      # {label} is freed: {location}" for label, location in shown["freed"].items()]
    return "\n".join(lines) + "\n"


def _slave_location(location: str, changed: dict[str, str]) -> str:
    """Return the location of a slave, and of its keys that are elsewhere."""
    whole = changed.get("slave", location)
    return ", ".join(
        filter(None, (whole, *(f"{k}: {p}" for k, p in changed.items() if k != "slave")))
    )


def _flow(value: object) -> str:
    import yaml

    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6)
    return text.removesuffix("...\n").strip()


def _comment(text: str) -> str:
    return f"  # {text}" if text else ""
