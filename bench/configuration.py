"""The configuration file of a candidate that IPEQL's daemon runs."""

from collections.abc import Iterable

from bench.candidates import Candidate

PROBED = "-probe"
"""Ends the kind of a candidate whose slaves are probed."""


def configuration(candidate: Candidate, address: str, slaves: Iterable[str], far: str = "") -> str:
    """Return a file with bundle ipeql0, which has ``address``/24.

    ``slaves``: their keys, e.g. ``name: eth1, lag: 5ms``. ``far``: whom to probe; empty: nobody.
    """
    probe = f"    probe: {{to: {far}}}\n" if far else ""
    listed = "".join(f"      - {{{slave}}}\n" for slave in slaves)
    return (
        "version: 1\n"
        "bundles:\n"
        "  ipeql0:\n"
        f"    method: {candidate.method}\n"
        f"    backend: {candidate.kind.removesuffix(PROBED)}\n"
        f"    addresses: [{address}/24]\n"
        f"{probe}"
        f"    slaves:\n{listed}"
    )
