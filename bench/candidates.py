"""Who is measured: the plain link, IPEQL's dataplanes, and what else Linux has."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """A way to send over ``slaves`` links; ``method`` is IPEQL's word for how they are chosen.

    ``slaves`` 0: as many as the case has.
    """

    kind: str
    method: str = ""
    slaves: int = 2

    @property
    def name(self) -> str:
        """Return e.g. ``plain``, ``bonding/2``, ``bpf/bw_load/8``."""
        number = str(self.slaves) if self.slaves > 1 else ""
        return "/".join(part for part in (self.kind, self.method, number) if part)


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
