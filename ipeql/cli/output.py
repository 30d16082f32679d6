"""Output of the verbs: JSON on stdout, remarks on stderr."""

import json
import os
from typing import Any

import click


def print_json(shown: dict[str, Any]) -> None:
    """Print one JSON document on stdout."""
    click.echo(json.dumps(shown, indent=2))


def remark(text: str) -> None:
    """Print a remark on stderr, beside the data."""
    click.echo(f"ipeql: {text}", err=True)


def report_fault(error: Exception) -> None:
    """Say that a command has a bug; raises ``error`` where IPEQL_DEBUG is 1."""
    if os.environ.get("IPEQL_DEBUG") == "1":
        raise error
    remark(f"internal error: {error!r}; please report it")
    click.echo("  help: IPEQL_DEBUG=1 shows where it happened", err=True)


def counted(number: int, noun: str) -> str:
    """Return e.g. ``1 bundle``, ``2 bundles``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
