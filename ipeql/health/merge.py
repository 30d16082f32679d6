"""One verdict on each slave, from the objections of all sources."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ipeql.health.source import Opinion, Seen, Slave, Source
from ipeql.state import Verdict


class Judgement(NamedTuple):
    """``verdicts`` on every slave, and when (ns) one changes by itself, or None.

    ``health``: the value for the next judgement; a dry run discards it.
    """

    health: "Health"
    verdicts: dict[Slave, Verdict]
    next_change: int | None


@dataclass(frozen=True, slots=True)
class Health:
    """The sources with their state.

    - A slave is usable where no source objects. The first source that objects gives the reason.
    - Where no slave of a bundle is usable, one is released to which all objections are
      ``last_resort``: the one whose objections end first, ties in the order of the slaves.
    - A released slave stays released until a source objects that is no ``last_resort``, or all
      objections have ended.
    """

    sources: tuple[Source, ...]
    released: frozenset[Slave] = frozenset()

    def judge(self, now: int, seen: Seen) -> Judgement:
        """Return the verdicts at ``now`` (ns of one monotonic clock); this object stays as it is.

        Two calls with the same ``now`` give the same result.
        """
        sources: list[Source] = []
        against: dict[Slave, list[Opinion]] = {}
        for source in self.sources:
            after, opinions = source.judge(now, seen)
            sources.append(after)
            for slave, opinion in opinions.items():
                against.setdefault(slave, []).append(opinion)
        released = {slave for slave in self.released if _is_held(against.get(slave))}
        for bundle, links in seen.slaves.items():
            slaves = [(bundle, link.ifindex) for link in links]
            held = [slave for slave in slaves if _is_held(against.get(slave))]
            if held and all(slave in against and slave not in released for slave in slaves):
                released.add(min(held, key=lambda slave: _end(against[slave])))
        in_force = {slave: said for slave, said in against.items() if slave not in released}
        ends = [opinion.until for said in in_force.values() for opinion in said if opinion.until]
        return Judgement(
            type(self)(tuple(sources), frozenset(released)),
            _verdicts(seen, in_force),
            min(ends, default=None),
        )


def _is_held(said: list[Opinion] | None) -> bool:
    return bool(said) and all(opinion.last_resort for opinion in said or ())


def _end(said: list[Opinion]) -> int:
    return max(opinion.until or 0 for opinion in said)


def _verdicts(seen: Seen, against: Mapping[Slave, list[Opinion]]) -> dict[Slave, Verdict]:
    verdicts: dict[Slave, Verdict] = {}
    for bundle, links in seen.slaves.items():
        for link in links:
            slave = (bundle, link.ifindex)
            first = next(iter(against.get(slave, ())), None)
            verdicts[slave] = Verdict(False, first.reason, first.detail) if first else Verdict(True)
    return verdicts
