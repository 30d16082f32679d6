"""What is known of a slave's path, as JSON, in the status document."""

from typing import Any

from ipeql.state import PathReport, ProbeSpec


def path_document(probe: ProbeSpec, report: PathReport | None) -> dict[str, Any]:
    """Return the path of a slave that has a probe; ``report`` None: nothing is known of it.

    ``since_ns`` is of CLOCK_MONOTONIC (0: unknown). ``lag_ns`` is how much later a packet arrives
    than over the fastest path; ``lag_halved``: half the difference of the round trips. ``rung`` is
    by what the far end answers. ``suspensions`` are those of the last hour. ``bandwidth_bps`` and
    ``queue_ns`` are measured; ``bandwidth_state``: what is known of them. ``delivered_bps`` arrived
    of late: only what was sent can. Pure.
    """
    known = report or PathReport()
    return {
        "to": str(probe.to),
        "standing": known.standing.value,
        "reason": known.why,
        "since_ns": known.since,
        "rung": known.rung.value,
        "round_trip_ns": known.round_trip,
        "lag_ns": known.lag,
        "lag_halved": known.halved,
        "loss": None if known.loss is None else round(known.loss, 4),
        "suspensions": known.suspensions,
        "bandwidth_bps": known.bandwidth,
        "bandwidth_state": known.learning.value if known.learning else None,
        "queue_ns": known.queue,
        "delivered_bps": known.delivered,
    }
