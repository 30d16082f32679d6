"""Bundle names as arguments: completed by the shell, looked up by the verb."""

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from ipeql.cli.settings import Settings
from ipeql.errors import IpeqlError, NotFoundError, NotRunningError, no_such_bundle

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMPLETION_TIMEOUT_S = 1.0


def complete(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> "list[str | CompletionItem]":
    """Return the bundles of the daemon, or of the files; nothing if neither can be read."""
    with contextlib.suppress(IpeqlError, OSError):
        known = _known(context.ensure_object(Settings))
        return [name for name in known if name.startswith(incomplete)]
    return []


def _known(settings: Settings) -> list[str]:
    from ipeql.cli import client

    try:
        described = client.call("Describe", COMPLETION_TIMEOUT_S)
    except NotRunningError:
        return sorted(settings.load().bundles)
    return [bundle["name"] for bundle in described["bundles"]]


def pick(bundles: Iterable[dict[str, Any]], names: Iterable[str]) -> list[dict[str, Any]]:
    """Return the bundles of a status document that ``names`` means: all, where it is empty."""
    by_name = {bundle["name"]: bundle for bundle in bundles}
    wanted = list(names) or list(by_name)
    missing = [name for name in wanted if name not in by_name]
    if missing:
        raise NotFoundError(no_such_bundle(name, by_name) for name in missing)
    return [by_name[name] for name in wanted]
