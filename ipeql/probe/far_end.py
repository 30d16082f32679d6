"""How one far end is asked: by STAMP, or by ICMP echo where nobody answers that."""

from ipeql.state import ProbeSpec

SILENCE = 10**9
"""Without an answer to STAMP for so long, ns, over any slave, ``auto`` asks by ICMP echo."""

TRIAL = 5 * 10**9
"""Meanwhile STAMP is tried again over every slave so often, ns."""

HEARD_TRIAL = SILENCE
"""And so often while that far end asks by STAMP itself."""


class FarEnd:
    """What the slaves that lead to one far end have in common.

    ``by_icmp``: it is asked by ICMP echo now.
    """

    def __init__(self, spec: ProbeSpec) -> None:
        self._is_auto = spec.by == "auto"
        self.by_icmp = spec.by == "icmp"
        self._asked = 0
        self._trials: dict[int, int] = {}

    def asked(self, now: int) -> None:
        """Note that a STAMP request was sent; turn to ICMP if none was answered for long."""
        if not self._asked:
            self._asked = now
        elif self._is_auto and not self.by_icmp and now - self._asked > SILENCE:
            self.by_icmp = True

    def answered(self) -> None:
        """Note an answer to STAMP."""
        self._asked = 0
        if self._is_auto:
            self.by_icmp = False

    def tries(self, ifindex: int, now: int) -> bool:
        """Say whether STAMP is tried again over a slave beside the echo, and note that it is."""
        if not self._is_auto or now < self._trials.get(ifindex, now):
            return False
        self._trials[ifindex] = now + TRIAL
        return True

    def heard(self, now: int) -> None:
        """Note a STAMP request of that far end: it may answer, too."""
        if self.by_icmp and self._is_auto:
            for ifindex, due in self._trials.items():
                self._trials[ifindex] = min(due, now + HEARD_TRIAL)
