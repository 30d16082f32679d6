"""Edits of the files that have no effect because of a transient change. Pure."""

from collections.abc import Iterator
from typing import Any

from ipeql.errors import Code, Problem
from ipeql.state import TRANSIENT, BundleSpec, DesiredState, SlaveSpec


def hidden(before: DesiredState, files: DesiredState, desired: DesiredState) -> list[Problem]:
    """Return a remark on every bundle of which edited keys are without effect.

    ``before``, ``files``: the content of the files before and now; ``desired``: with the changes.
    """
    found = []
    for name, spec in desired.bundles.items():
        old, new = before.bundles.get(name), files.bundles.get(name)
        if old is None or new is None:
            continue
        keys = sorted({*_of_bundle(old, new, spec), *_of_slaves(old, new, spec)})
        if keys:
            message = f"{name}: a transient change hides the edit of {', '.join(keys)}"
            advice = f"ipeql revert {name} removes the transient changes"
            found.append(Problem(Code.HIDDEN, message, advice, spec.mark, name))
    return found


def _of_bundle(old: BundleSpec, new: BundleSpec, spec: BundleSpec) -> Iterator[str]:
    for key, location in spec.changed:
        if location == TRANSIENT and _bundle_value(old, key) != _bundle_value(new, key):
            yield key


def _bundle_value(spec: BundleSpec, key: str) -> Any:
    name = key.replace("-", "_")
    return getattr(spec, name) if hasattr(spec, name) else dict(spec.parameters).get(name)


def _of_slaves(old: BundleSpec, new: BundleSpec, spec: BundleSpec) -> Iterator[str]:
    earlier, later = _by_label(old), _by_label(new)
    for slave in spec.slaves:
        one, other = earlier.get(slave.label), later.get(slave.label)
        for key, location in slave.changed:
            if location != TRANSIENT or one is None or other is None:
                continue
            if _slave_value(one, key) != _slave_value(other, key):
                yield f"{slave.label}/{key}"


def _slave_value(slave: SlaveSpec, key: str) -> Any:
    return slave if key == "slave" else getattr(slave, key.replace("-", "_"))


def _by_label(spec: BundleSpec) -> dict[str, SlaveSpec]:
    return {slave.label: slave for slave in spec.slaves}
