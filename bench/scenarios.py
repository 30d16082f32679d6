"""What is measured: the scenarios, where each of them runs, and over whom."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import failover, goodput, packet_cost
from bench.candidates import COSTED, Candidate
from bench.results import Row

Measure = Callable[[Sequence[Candidate], Path], Iterator[Row]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A measurement: ``measure`` yields its rows; ``unit`` is that of their values.

    ``emulated``: it runs in an emulated kernel, whose clock counts instructions. Else it runs on
    the running kernel, and its values count by their ratio to a plain link's.
    """

    name: str
    title: str
    unit: str
    emulated: bool
    candidates: tuple[Candidate, ...]
    measure: Measure


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            packet_cost.NAME,
            "What a packet costs",
            "instructions per packet",
            True,
            COSTED,
            packet_cost.measure,
        ),
        Scenario(
            goodput.NAME,
            "What one TCP flow brings over shaped links",
            "share of the links' payload capacity",
            True,
            goodput.CANDIDATES,
            goodput.measure,
        ),
        Scenario(
            failover.NAME,
            "What is lost when one of two links dies",
            "datagrams of 1000 a second",
            True,
            failover.CANDIDATES,
            failover.measure,
        ),
    )
}
