"""Which dataplane carries a bundle."""

from collections.abc import Mapping
from typing import NamedTuple

from ipeql.state import BundleSpec, Capabilities


class Choice(NamedTuple):
    """The backend's name, or None if none supports the bundle, and the reason for people."""

    backend: str | None
    reason: str


def _lack(spec: BundleSpec, able: Capabilities) -> str:
    """Return why a backend cannot carry the bundle, or an empty string."""
    if not able.available:
        return f"is not available here: {able.reason}"
    if spec.method not in able.methods:
        return f"does not support method {spec.method}{_why(spec.method, able)}"
    if spec.stripe_unit not in able.stripe_units:
        return f"does not support stripe-unit {spec.stripe_unit}{_why(spec.stripe_unit, able)}"
    return ""


def _why(lacking: str, able: Capabilities) -> str:
    return f": {able.lacks[lacking]}" if lacking in able.lacks else ""


def choose_backend(
    spec: BundleSpec, capabilities: Mapping[str, Capabilities], running: str | None = None
) -> Choice:
    """Return the backend that ``spec`` names, or for ``auto`` the highest ranked that supports it.

    ``running``: the one that carries the bundle now. With ``auto`` it stays if it supports the
    bundle: another backend means another device, and that loses packets
    (docs/adr/0011-auto-stays.md).
    """
    ranked = sorted(capabilities.values(), key=lambda able: (-able.rank, able.backend))
    if spec.backend != "auto":
        ranked = [able for able in ranked if able.backend == spec.backend]
        if not ranked:
            return Choice(None, f"there is no backend {spec.backend}")
    elif running and running in capabilities and not _lack(spec, capabilities[running]):
        return Choice(running, _stays(running, choose_backend(spec, capabilities)))
    passed: list[str] = []
    for able in ranked:
        lack = _lack(spec, able)
        if not lack:
            passed.insert(
                0, "the fastest that supports it" if spec.backend == "auto" else "as configured"
            )
            return Choice(able.backend, "; ".join(passed))
        passed.append(f"{able.backend} {lack}")
    return Choice(None, "; ".join(passed) or "there is no backend")


def _stays(running: str, fastest: Choice) -> str:
    if fastest.backend == running:
        return fastest.reason
    return (
        f"it is running; {fastest.backend} is faster, and 'backend: {fastest.backend}' selects it"
    )
