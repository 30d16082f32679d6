"""Bundle names as arguments, looked up by the verb."""

from collections.abc import Iterable
from typing import Any

from ipeql.errors import NotFoundError, no_such_bundle


def pick(bundles: Iterable[dict[str, Any]], names: Iterable[str]) -> list[dict[str, Any]]:
    """Return the bundles of a status document that ``names`` means: all, where it is empty."""
    by_name = {bundle["name"]: bundle for bundle in bundles}
    wanted = list(names) or list(by_name)
    missing = [name for name in wanted if name not in by_name]
    if missing:
        raise NotFoundError(no_such_bundle(name, by_name) for name in missing)
    return [by_name[name] for name in wanted]
