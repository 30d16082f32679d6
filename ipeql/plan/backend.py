"""Which dataplane carries a bundle."""

from collections.abc import Mapping
from typing import NamedTuple

from ipeql.state import BundleSpec, Capabilities


class Choice(NamedTuple):
    """The backend's name, or None where none can do it, and the reason for people."""

    backend: str | None
    reason: str


def _lack(spec: BundleSpec, able: Capabilities) -> str:
    """Return why a backend cannot carry the bundle, or an empty string."""
    if not able.available:
        return f"is not available here: {able.reason}"
    if spec.method not in able.methods:
        return f"cannot do method {spec.method}{_why(spec.method, able)}"
    if spec.stripe_unit not in able.stripe_units:
        return f"cannot do stripe-unit {spec.stripe_unit}{_why(spec.stripe_unit, able)}"
    return ""


def _why(lacking: str, able: Capabilities) -> str:
    return f": {able.lacks[lacking]}" if lacking in able.lacks else ""


def choose_backend(spec: BundleSpec, capabilities: Mapping[str, Capabilities]) -> Choice:
    """Return the backend that ``spec`` names, or for ``auto`` the highest ranked that can do it."""
    ranked = sorted(capabilities.values(), key=lambda able: (-able.rank, able.backend))
    if spec.backend != "auto":
        ranked = [able for able in ranked if able.backend == spec.backend]
        if not ranked:
            return Choice(None, f"there is no backend {spec.backend}")
    passed: list[str] = []
    for able in ranked:
        lack = _lack(spec, able)
        if not lack:
            passed.insert(0, "the fastest that can" if spec.backend == "auto" else "as configured")
            return Choice(able.backend, "; ".join(passed))
        passed.append(f"{able.backend} {lack}")
    return Choice(None, "; ".join(passed) or "there is no backend")
