"""What is measured: the scenarios, where each of them runs, and whom."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from bench.candidates import CLASS, FLOW, PLAIN, SPARE, Candidate, sweep
from bench.report.results import Row
from ipeql.backends.bpf.layout import METHODS as BPF_METHODS
from ipeql.methods import METHODS


@dataclass(frozen=True, slots=True)
class Scenario:
    """A measurement, made by the module of its name; ``unit`` is that of its values.

    ``emulated``: in an emulated kernel, whose clock counts instructions. Else on the running one,
    where values count by their ratio to a plain link's.
    """

    name: str
    title: str
    unit: str
    emulated: bool
    candidates: tuple[Candidate, ...]

    def measure(self, candidates: Sequence[Candidate], tools: Path) -> Iterator[Row]:
        """Yield the rows of ``candidates``, on the kernel that runs here.

        ``tools`` has the compiled sender, and takes what a dataplane needs while it runs. The
        module is loaded only now: in an emulated kernel an import costs many seconds.
        """
        module = import_module(f"bench.scenarios.{self.name.replace('-', '_')}")
        measure: Callable[[Sequence[Candidate], Path], Iterator[Row]] = module.measure
        return measure(candidates, tools)


def _peers(*kinds: str) -> tuple[Candidate, ...]:
    return tuple(Candidate(kind) for kind in kinds)


_OURS = ("bpf", "kmod", "tun")
_TURNS = tuple(Candidate(kind, "round_robin") for kind in _OURS)
_PROBED = tuple(Candidate(f"{kind}-probe", "round_robin") for kind in _OURS)
_RULED = (("bw_load", FLOW), ("round_robin", SPARE), ("round_robin", CLASS))

_TABLE = (
    Scenario(
        "packet-cost",
        "What a packet costs",
        "instructions a packet",
        True,
        (
            PLAIN,
            *_peers("bonding", "team", "teql", "ecmp", "eql"),
            Candidate("ipip", slaves=1),
            *sweep("bpf", BPF_METHODS, (2, 8, 32)),
            *sweep("kmod", METHODS, (2, 8, 32)),
            *(
                Candidate(kind, method, 2, rule)
                for kind in ("bpf", "kmod")
                for method, rule in _RULED
            ),
        ),
    ),
    Scenario(
        "goodput",
        "What one TCP flow brings over shaped links",
        "share of all links' payload capacity",
        True,
        (
            PLAIN,
            *_peers("bonding", "team", "teql", "ecmp", "mptcp", "eql"),
            *sweep("bpf", ("round_robin", "bw_load", "bw_lag_val", "bw_lag_eq"), (2,)),
            *sweep("kmod", ("round_robin", "bw_load", "bw_lag_val", "bw_lag_eq"), (2,)),
            *sweep("tun", ("bw_lag_eq",), (2,)),
        ),
    ),
    Scenario(
        "congestion",
        "What one TCP flow brings over lines that lag each other",
        "share of all links' payload capacity",
        True,
        (PLAIN, *(Candidate(kind, "bw_lag_eq") for kind in _OURS)),
    ),
    Scenario(
        "flows",
        "Twenty TCP flows at once over links that lag each other, unshaped",
        "Mbit/s",
        True,
        tuple(Candidate(kind, "bw_lag_eq") for kind in ("bpf", "kmod")),
    ),
    Scenario(
        "whole-flows",
        "What TCP flows bring that stay on one link each",
        "share of all links' payload capacity; packets reordered",
        True,
        (
            *_peers("bonding-xor", "ecmp"),
            *(Candidate(kind, "bw_load", 2, FLOW) for kind in ("bpf", "kmod")),
        ),
    ),
    Scenario(
        "voice",
        "Voice beside a download over links that lag each other",
        "ms; share of all links' payload capacity",
        True,
        (
            PLAIN,
            *(Candidate(kind, "bw_lag_eq", 2, rule) for kind in _OURS for rule in ("", CLASS)),
        ),
    ),
    Scenario(
        "loss",
        "What is lost over two links that lose 5 % each",
        "percent of the datagrams",
        True,
        (PLAIN, *(Candidate(kind, "duplicate") for kind in _OURS)),
    ),
    Scenario(
        "failover",
        "What is lost when one of two links fails",
        "datagrams lost, of 1000 a second",
        True,
        (*_peers("bonding", "bonding-arp", "team", "teql", "ecmp", "eql"), *_TURNS, *_PROBED),
    ),
    Scenario(
        "probes",
        "What probing costs",
        "million instructions a second",
        True,
        tuple(Candidate("bpf-probe", "round_robin", slaves) for slaves in (2, 8, 32)),
    ),
    Scenario(
        "silence",
        "A path that dies silently and comes back",
        "ms; datagrams lost, of 1000 a second",
        False,
        (*_peers("mptcp"), Candidate("tun", "bw_lag_eq"), Candidate("bpf", "round_robin")),
    ),
    Scenario(
        "links",
        "Real links",
        "share of the payload that all links could carry; ms",
        False,
        (
            PLAIN,
            Candidate("mptcp", slaves=0),
            Candidate("tun", "bw_lag_eq", slaves=0),
            Candidate("tun-probe", "bw_lag_eq", slaves=0),
        ),
    ),
    Scenario(
        "serial",
        "What one TCP flow brings over serial lines",
        "kbit/s of payload",
        True,
        (
            Candidate("eql", slaves=0),
            *sweep("bpf", ("bw_load", "bw_lag_val", "bw_lag_eq"), (0,)),
            *sweep("kmod", ("bw_load", "bw_lag", "bw_lag_eq"), (0,)),
            *sweep("tun", ("bw_lag_eq",), (0,)),
        ),
    ),
    Scenario("unshaped", "One TCP flow, unshaped", "Gbit/s", False, _TURNS),
    Scenario(
        "packet-rate",
        "Packets a second",
        "1000 datagrams that arrive a second",
        False,
        (
            *sweep("bpf", ("round_robin", "bw_load", "bw_lag_val"), (2, 4, 8, 32)),
            *sweep("kmod", ("round_robin", "bw_load", "bw_lag_val"), (2, 4, 8, 32)),
            *sweep("tun", ("round_robin",), (2, 4, 8, 32)),
        ),
    ),
    Scenario("reconfiguration", "A reload under load", "datagrams lost; ms", False, _TURNS),
    Scenario(
        "memory",
        "Memory",
        "MiB",
        False,
        tuple(Candidate(kind, "round_robin", slaves) for kind in _OURS for slaves in (2, 32)),
    ),
)

SCENARIOS = {scenario.name: scenario for scenario in _TABLE}
"""Every scenario by its name."""
