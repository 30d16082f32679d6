"""What slaves carry, in bit/s over the last second: pure, from what they have sent at two times.

Whoever runs a dataplane takes a sample each second. Asking for a rate takes none, so callers do not
disturb each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Sample:
    """The bytes that each slave (ifindex) of one bundle had sent at ``time``, ns, monotonic."""

    time: int
    sent: Mapping[int, int] = field(default_factory=dict)


def rates(earlier: Sample | None, later: Sample) -> dict[int, int]:
    """Return what each slave of ``later`` has carried since ``earlier``, in bit/s by ifindex.

    A slave that was enslaved in between has counted from 0. Empty where there was no earlier
    sample.
    """
    if earlier is None or later.time <= earlier.time:
        return {}
    return {
        ifindex: _since(earlier.sent.get(ifindex, 0), sent)
        * 8
        * 10**9
        // (later.time - earlier.time)
        for ifindex, sent in later.sent.items()
    }


def _since(before: int, now: int) -> int:
    return now - before if now >= before else now


class Rates:
    """The rates of all bundles of one backend: those between the last two samples.

    Until a bundle has been sampled twice, and once it cannot be sampled, it has none.
    """

    def __init__(self) -> None:
        self._last: Mapping[str, Sample] = {}
        self._rates: Mapping[str, Mapping[int, int]] = {}

    def update(self, samples: Mapping[str, Sample]) -> None:
        """Take over the next sample of every bundle."""
        self._rates = {
            bundle: rates(self._last.get(bundle), sample) for bundle, sample in samples.items()
        }
        self._last = dict(samples)

    def of(self, bundle: str) -> Mapping[int, int]:
        """Return the rates of a bundle's slaves, bit/s by ifindex."""
        return self._rates.get(bundle, {})
