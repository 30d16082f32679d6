"""The striping methods: pure, integer, one file each (docs/methods.md)."""

from collections.abc import Callable, Sequence

from ipeql.methods.auto_bw import AutoBw
from ipeql.methods.base import (
    MAX_SLAVES,
    MIN_BANDWIDTH,
    OVERFLOW_AFTER_NS,
    PLAIN,
    Arrival,
    Decision,
    Rules,
    Scheduler,
    SlaveParameters,
)
from ipeql.methods.bw_lag import BwLag
from ipeql.methods.bw_lag_eq import MAX_HOLD_NS, QUEUE_LIMIT_NS, BwLagEq, default_queue_limit
from ipeql.methods.bw_lag_val import BwLagVal
from ipeql.methods.bw_load import BwLoad
from ipeql.methods.bw_poll import BwPoll
from ipeql.methods.duplicate import Duplicate
from ipeql.methods.flows import BUCKETS, UNITS
from ipeql.methods.round_robin import RoundRobin
from ipeql.methods.use import USES

__all__ = [
    "BUCKETS",
    "MAX_HOLD_NS",
    "MAX_SLAVES",
    "METHODS",
    "MIN_BANDWIDTH",
    "OVERFLOW_AFTER_NS",
    "PLAIN",
    "QUEUE_LIMIT_NS",
    "TIMES",
    "UNITS",
    "USES",
    "Arrival",
    "Decision",
    "Rules",
    "Scheduler",
    "SlaveParameters",
    "create",
    "default_queue_limit",
    "keeps_flows",
]

METHODS: dict[str, type[Scheduler]] = {
    method.name: method
    for method in (RoundRobin, BwLoad, BwPoll, BwLag, BwLagVal, AutoBw, BwLagEq, Duplicate)
}
"""Every method by its name in the configuration."""

TIMES = frozenset().union(*(method.times for method in METHODS.values()))
"""The parameters that are times, in ns."""


def keeps_flows(method: str, stripe_unit: str) -> bool:
    """Say whether the packets of a flow stay on one slave."""
    return stripe_unit in UNITS and method != Duplicate.name


def create(
    name: str, slaves: Sequence[SlaveParameters], rules: Rules = PLAIN, /, **parameters: int | str
) -> Scheduler:
    """Return the method called ``name`` over ``slaves``, all usable; times in ns.

    TypeError: a parameter the method does not know. ValueError: no such method, a parameter out of
    range, or a slave that lacks what the method needs.
    """
    if name not in METHODS:
        raise ValueError(f"no method {name!r}; there are {', '.join(METHODS)}")
    method: Callable[..., Scheduler] = METHODS[name]
    unknown = parameters.keys() - METHODS[name].parameters
    if unknown:
        raise TypeError(f"{name} takes no {', '.join(sorted(unknown))}")
    return method(slaves, rules, **parameters)
