"""What the verbs print with: JSON on stdout, remarks on stderr."""

import json
from typing import Any

import click


def print_json(shown: dict[str, Any]) -> None:
    """Print one JSON document on stdout."""
    click.echo(json.dumps(shown, indent=2))


def remark(text: str) -> None:
    """Say something on stderr that is not the data asked for."""
    click.echo(f"ipeql: {text}", err=True)


def counted(number: int, noun: str) -> str:
    """Return e.g. ``1 bundle``, ``2 bundles``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
