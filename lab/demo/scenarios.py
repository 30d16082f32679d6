"""What the demo measures: paths, the methods over them, and what they have to reach. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ipeql.methods import METHODS
from ipeql.units import format_rate, format_time
from lab.network.shaper import Shape

MBIT = 10**6
MS = 10**6
SECOND = 10**9

PAYLOAD = 1448 / 1514
"""TCP payload, timestamps on, of a full Ethernet frame as the emulator counts it."""

EQUAL_BAR = 0.96
LAG_BAR = 0.95
CUT_BAR = 0.9
"""Least shares of payload capacity: of equal links with round_robin, of links with unequal lag with
bw_lag_eq, of the links that are there when one is cut and returned."""

CUT_METHOD = "round_robin"
"""Takes the links in turn, so that it misses one that is gone at once."""


@dataclass(frozen=True, slots=True)
class Act:
    """What happens to the last link during a flow; ``parts``: before it, meanwhile, after it.

    ``begin``, ``end``: of what happens meanwhile, and ``flow``: how long it lasts, ns. ``silent``:
    the link carries nothing any more, but keeps its carrier; the bundle has probes.
    """

    title: str
    parts: tuple[str, str, str]
    begin: int
    end: int
    flow: int
    silent: bool = False


CUT = Act(
    "cut and return",
    ("before", "one link cut", "after its return"),
    3 * SECOND,
    5 * SECOND,
    8 * SECOND,
)
SILENT = Act(
    "silent and back",
    ("before", "one link silent", "after its return"),
    2 * SECOND,
    4 * SECOND,
    7 * SECOND,
    silent=True,
)
ACTS = (CUT, SILENT)


@dataclass(frozen=True, slots=True)
class Path:
    """A link: ``rate`` in bit/s of Ethernet frames, one-way ``delay`` in ns."""

    rate: int
    delay: int

    def __str__(self) -> str:
        """Return e.g. ``20Mbit 5ms``."""
        return f"{format_rate(self.rate)} {format_time(self.delay)}"


@dataclass(frozen=True, slots=True, eq=False)
class Scenario:
    """One TCP flow over ``paths``, once with each of ``methods``.

    ``bars``: the least share of payload capacity, by method. ``seconds`` a flow lasts, of which the
    first ``warmup`` do not count. ``single``: first one over the best link alone, without a bundle.
    ``cut``: at last one for each of :data:`ACTS`, during which the last link fails and returns.
    """

    title: str
    paths: tuple[Path, ...]
    methods: tuple[str, ...]
    bars: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 4.5
    warmup: float = 2.0
    single: bool = True
    cut: bool = False

    @property
    def best(self) -> int:
        """Return the index of the fastest path."""
        return max(range(len(self.paths)), key=lambda index: self.paths[index].rate)

    @property
    def figures(self) -> int:
        """Return how many figures there will be."""
        return self.single + len(self.methods) + sum(len(act.parts) for act in ACTS) * self.cut

    @property
    def shapes(self) -> list[Shape]:
        """Return what the emulator does to each link."""
        return [Shape(rate=path.rate, delay=path.delay) for path in self.paths]

    def configuration(self, method: str, probe: bool = False) -> str:
        """Return a configuration file: bundle ipeql0 with ``method`` over all links.

        ``probe``: the receiver, which has no IPEQL, is asked by ICMP echo over each of them.
        """
        slaves = "".join(
            f"      - {{name: eth{number}, bandwidth: {format_rate(path.rate)}, "
            f"lag: {format_time(path.delay)}}}\n"
            for number, path in enumerate(self.paths, start=1)
        )
        return (
            "version: 1\n"
            "bundles:\n"
            "  ipeql0:\n"
            f"    method: {method}\n"
            "    addresses: [10.9.0.1/24]\n"
            + "    probe: {to: 10.9.0.2, by: icmp}\n" * probe
            + f"    slaves:\n{slaves}"
        )


def capacity(*paths: Path) -> float:
    """Return the payload capacity in bit/s: what one TCP flow gets out of ``paths`` at most."""
    return sum(path.rate for path in paths) * PAYLOAD


def _row(*paths: Path) -> Scenario:
    # CUBIC takes seconds to fill a long path, and more after a loss.
    return Scenario(
        "unequal lag",
        paths,
        ("bw_lag_eq",),
        {"bw_lag_eq": LAG_BAR},
        seconds=9,
        warmup=4.5,
        single=False,
    )


SHARING = tuple(name for name in METHODS if name != "duplicate")
"""The methods that give a packet to one slave, in their order."""

EQUAL = Scenario(
    "equal links",
    (Path(10 * MBIT, 5 * MS), Path(10 * MBIT, 5 * MS)),
    SHARING,
    {"round_robin": EQUAL_BAR},
    cut=True,
)
UNEQUAL = Scenario("4:1 links", (Path(16 * MBIT, 5 * MS), Path(4 * MBIT, 5 * MS)), SHARING)
LAG = Scenario("45 ms lag difference", (Path(10 * MBIT, 5 * MS), Path(10 * MBIT, 50 * MS)), SHARING)
"""Low rates: three of these run side by side on two processors, and none may wait for one."""

STAGES: tuple[tuple[Scenario, ...], ...] = (
    (EQUAL, UNEQUAL, LAG),
    (
        _row(Path(20 * MBIT, 5 * MS), Path(20 * MBIT, 25 * MS)),
        _row(Path(20 * MBIT, 5 * MS), Path(20 * MBIT, 50 * MS)),
    ),
    (_row(Path(50 * MBIT, 5 * MS), Path(12 * MBIT, 105 * MS)),),
    (_row(Path(80 * MBIT, 5 * MS), Path(20 * MBIT, 55 * MS)),),
    (_row(Path(100 * MBIT, 5 * MS), Path(10 * MBIT, 25 * MS)),),
)
"""Stages follow each other, the scenarios of one run side by side. The rows after the first stage
are those of the table in docs/methods.md."""

QUICK: tuple[tuple[Scenario, ...], ...] = (
    (
        Scenario(
            EQUAL.title, EQUAL.paths, ("round_robin", "bw_lag_eq"), EQUAL.bars, 3.5, 1.5, cut=True
        ),
    ),
)
