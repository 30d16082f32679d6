"""Changes of bundles as people give them: read, said in words, and put together."""

import json
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from ipeql.config.schema.convert import METHOD_KEYS, match_spec
from ipeql.config.schema.explain import Explanation, explain
from ipeql.config.schema.model import Change, File, Slave
from ipeql.config.schema.values import VERSION
from ipeql.errors import Code, ConfigError, Problem
from ipeql.methods import METHODS

_IDENTITY = frozenset({"name", "match"})


def parse_change(data: object) -> Change:
    """Return the change that ``data`` is, in the keys and spellings of a file; or ConfigError.

    ``data`` is of JSON's types; what a caller sent is checked no further before.
    """
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError):
        problem = Problem(Code.BAD_VALUE, "not text in Unicode", "write names and values in UTF-8")
        raise ConfigError(problem) from None
    try:
        return File.model_validate({"version": VERSION, "changes": [data]}).changes[0]
    except ValidationError as error:
        faults = explain(error.errors(include_url=False))
        raise ConfigError(_problem(fault) for fault in faults) from None


def _problem(fault: Explanation) -> Problem:
    """Say in the message what the place in a file would show: the key."""
    key = fault.path[2:][-1:] if not fault.key else ()
    return Problem(fault.code, ": ".join((*map(str, key), fault.message)), fault.advice)


def to_data(change: Change) -> dict[str, Any]:
    """Return what ``parse_change`` makes the same change of: JSON."""
    return change.model_dump(by_alias=True, exclude_unset=True)


def in_words(change: Change) -> str:
    """Return the change as the arguments of the command that makes it."""
    bundle, label = subject(change)
    if change.free is not None:
        return f"free {bundle} {label}"
    verb = "enslave" if change.enslave else "set"
    target = f"{bundle} {label}" if change.enslave else "/".join(filter(None, (bundle, label)))
    body = _body(change)
    settings = (f"{key}={_spelt(body[key])}" for key in body if key not in _IDENTITY)
    return " ".join((verb, target, *settings))


def _spelt(value: object) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_spelt(each)}' for key, each in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_spelt, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def subject(change: Change) -> tuple[str, str]:
    """Return the bundle and the slave that are changed; no slave: the bundle itself."""
    slave = change.enslave or change.set_slave
    return change.bundle, slave_label(slave) if slave else change.free or ""


def slave_label(slave: Slave) -> str:
    """Return how the state will name this slave."""
    match = slave.match
    return slave.name or (match and match_spec(match).label) or ""


def added(changes: Iterable[Change], new: Change) -> tuple[Change, ...]:
    """Return ``changes`` and ``new``, without what ``new`` replaces; pure."""
    rest = list(without(changes, new))
    if new.set or new.set_slave:
        for index, change in enumerate(rest):
            if subject(change) == subject(new) and change.free is None:
                rest[index] = _with_body(change, _body(change) | _body(new))
                return tuple(rest)
    return (*rest, new)


def without(changes: Iterable[Change], new: Change) -> tuple[Change, ...]:
    """Return ``changes`` without what ``new`` replaces; pure."""
    left = (_beside(change, new) for change in changes)
    return tuple(change for change in left if change)


def _beside(change: Change, new: Change) -> Change | None:
    """Return what ``new`` leaves of an earlier change."""
    if subject(change) != subject(new):
        return change
    if not (new.set or new.set_slave):
        return None
    if change.free is not None:
        return change
    replaced = _body(new).keys() - _IDENTITY
    if new.set and new.set.method:
        others = METHOD_KEYS - METHODS[new.set.method].parameters
        replaced |= {name.replace("_", "-") for name in others}
    body = {key: value for key, value in _body(change).items() if key not in replaced}
    return _with_body(change, body) if change.enslave or body.keys() - _IDENTITY else None


def _body(change: Change) -> dict[str, Any]:
    """Return the keys of what is enslaved or set."""
    (body,) = (value for key, value in to_data(change).items() if key != "bundle")
    return dict(body) if isinstance(body, dict) else {}


def _with_body(change: Change, body: dict[str, Any]) -> Change:
    (doing,) = to_data(change).keys() - {"bundle"}
    return parse_change({"bundle": change.bundle, doing: body})
