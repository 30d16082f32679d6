"""What the shell completes: bundles, slaves, links, keys and their values."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ipeql.cli.settings import Settings
from ipeql.errors import IpeqlError, NotRunningError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem
    from pydantic import BaseModel

TIMEOUT_S = 1.0

Completer = Callable[[click.Context, click.Parameter, str], "list[str | CompletionItem]"]


def completer(words: Callable[[click.Context, str], Iterator[str]]) -> Completer:
    """Return what click asks, of ``words``: those that may stand here, also such that do not fit.

    Nothing is completed where neither the daemon nor the files can be read.
    """

    def complete(
        context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> "list[str | CompletionItem]":
        with contextlib.suppress(IpeqlError, OSError):
            found = dict.fromkeys(words(context, incomplete))
            return [word for word in found if word.startswith(incomplete)]
        return []

    return complete


def _bundles(context: click.Context, incomplete: str) -> Iterator[str]:
    yield from _known(context)


def _slaves(context: click.Context, incomplete: str) -> Iterator[str]:
    yield from _known(context).get(context.params.get("bundle") or "", ())


def _links(context: click.Context, incomplete: str) -> Iterator[str]:
    bundles = _known(context)
    for link in sorted(path.name for path in Path("/sys/class/net").iterdir()):
        if link != "lo" and link not in bundles:
            yield link


def _targets(context: click.Context, incomplete: str) -> Iterator[str]:
    known = _known(context)
    yield from known
    yield from (f"{bundle}/{slave}" for bundle in known for slave in known[bundle])


def _assignments(context: click.Context, incomplete: str) -> Iterator[str]:
    """Yield ``KEY=`` for each key, and ``KEY=VALUE`` for the only one that is meant.

    bash cuts words at ``=``: then the key is the word before, and only its value is completed.
    """
    from ipeql.config.schema import model

    of = model.Slave if "/" in (context.params.get("target") or "") else model.Settings
    keys = {
        name.replace("_", "-"): name for name in of.model_fields if name not in ("name", "match")
    }
    before = [word for word in context.params.get("assignments") or () if word != "="]
    if before and before[-1] in keys:
        yield from values(of, keys[before[-1]])
        return
    key, equals, _ = incomplete.partition("=")
    meant = [name for name in keys if (name == key if equals else name.startswith(key))]
    for name in meant:
        given = list(values(of, keys[name])) if len(meant) == 1 else []
        yield from (f"{name}={value}" for value in given or [""])


def values_of(model: "type[BaseModel]", name: str) -> Completer:
    """Return what completes the value of one key."""
    return completer(lambda context, incomplete: values(model, name))


def values(model: "type[BaseModel]", name: str) -> Iterator[str]:
    """Yield values that a key may have: all words of a choice, and else an example or the default.

    ``name``: the key's, as Python spells it.
    """
    from ipeql.config.schema.kinds import kinds

    kind, field = kinds(model).get(name), model.model_fields[name]
    if kind:
        yield from _words(kind.schema)
    for value in (*(field.examples or ()), field.default):
        if isinstance(value, str | int) and not isinstance(value, bool):
            yield str(value)


def _words(schema: dict[str, Any]) -> Iterator[str]:
    yield from schema.get("enum", ())
    if "const" in schema:
        yield schema["const"]
    if schema.get("type") == "boolean":
        yield from ("true", "false")
    for other in schema.get("anyOf", ()):
        yield from _words(other)


def _known(context: click.Context) -> dict[str, list[str]]:
    """Return the slaves of each bundle, from the daemon or else from the files."""
    from ipeql.cli import client

    try:
        described = client.call("Describe", TIMEOUT_S)
    except NotRunningError:
        wanted = context.ensure_object(Settings).load().bundles
        return {name: [slave.label for slave in wanted[name].slaves] for name in sorted(wanted)}
    return {
        bundle["name"]: [slave["label"] for slave in bundle["slaves"]]
        for bundle in described["bundles"]
    }


bundles = completer(_bundles)
slaves = completer(_slaves)
links = completer(_links)
targets = completer(_targets)
assignments = completer(_assignments)
