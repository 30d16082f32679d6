"""What changed between two status documents, as events for journal and ``ipeql monitor``."""

from typing import Any


def transitions(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the events that lead from one ``describe`` document to a later one; none: no change.

    Each is flat JSON: ``event`` (``bundle`` or ``slave``), ``bundle``, ``slave`` where it is one,
    ``old``, ``new`` (states; empty for what did not exist or no longer does), ``reason`` and
    ``message``. A slave comes before the bundle whose state it decides. Pure.
    """
    old, new = _bundles(before), _bundles(after)
    events = []
    for name in sorted(old.keys() | new.keys()):
        events += _slaves(name, old.get(name), new.get(name))
        events += _change("bundle", {"bundle": name}, old.get(name), new.get(name))
    return events


def _bundles(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {bundle["name"]: bundle for bundle in document.get("bundles", ())}


def _slaves(
    bundle: str, before: dict[str, Any] | None, after: dict[str, Any] | None
) -> list[dict[str, Any]]:
    old, new = (
        {slave["name"] or slave["label"]: slave for slave in (bundle["slaves"] if bundle else ())}
        for bundle in (before, after)
    )
    return [
        event
        for name in sorted(old.keys() | new.keys())
        for event in _change(
            "slave", {"bundle": bundle, "slave": name}, old.get(name), new.get(name)
        )
    ]


def _change(
    kind: str,
    subject: dict[str, str],
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
) -> list[dict[str, Any]]:
    old = before["state"] if before else ""
    new = after["state"] if after else ""
    if old == new:
        return []
    reason = after["reason"] if after else ""
    message = f"{old or 'new'} -> {new or 'gone'}" + (f": {reason}" if reason else "")
    change = {"old": old, "new": new, "reason": reason, "message": message}
    return [{"event": kind, **subject, **change}]
