"""Who is measured: the plain link, IPEQL's dataplanes, and what else Linux has."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

FLOW, SPARE, CLASS = RULES = ("flow", "spare", "class")
"""``stripe-unit: flow``; the last slave ``when-down``; a class for DSCP EF, ``bw_lag_val``."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A way to send over ``slaves`` links; ``method`` is IPEQL's word for how they are chosen.

    ``slaves`` 0: as many as the case has. ``rule``: one of RULES, that its table has beside.
    """

    kind: str
    method: str = ""
    slaves: int = 2
    rule: str = ""

    @property
    def name(self) -> str:
        """Return e.g. ``plain``, ``bonding/2``, ``bpf/bw_load/8``, ``bpf/bw_load+flow/2``."""
        number = str(self.slaves) if self.slaves > 1 else ""
        method = f"{self.method}+{self.rule}" if self.rule else self.method
        return "/".join(part for part in (self.kind, method, number) if part)


PLAIN = Candidate("plain", slaves=1)


def sweep(kind: str, methods: Iterable[str], slaves: Iterable[int]) -> tuple[Candidate, ...]:
    """Return a candidate for every method and number of slaves."""
    numbers = tuple(slaves)
    return tuple(Candidate(kind, method, number) for method in methods for number in numbers)


def chosen(candidates: Sequence[Candidate], only: str) -> tuple[Candidate, ...]:
    """Return the candidates that ``only`` names, by comma; all where it is empty.

    ``bpf/round_robin`` means every number of slaves, ``bpf`` every method. LookupError for a name
    that means none.
    """
    if not only:
        return tuple(candidates)
    wanted = only.split(",")
    for name in wanted:
        if not any(_means(name, candidate) for candidate in candidates):
            names = ", ".join(candidate.name for candidate in candidates)
            raise LookupError(f"no candidate {name}; there are {names}")
    return tuple(one for one in candidates if any(_means(name, one) for name in wanted))


def _means(name: str, candidate: Candidate) -> bool:
    return f"{candidate.name}/".startswith(f"{name}/")
