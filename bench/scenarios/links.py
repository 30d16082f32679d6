"""What TCP brings over recordings of real links, and how long voice beside it takes."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

from bench.candidates import Candidate
from bench.configuration import PROBED, configuration
from bench.report.results import Row
from bench.running import subflows
from ipeql.errors import IpeqlError
from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from lab.network.recorded import BACK_RATE, Recording, play
from lab.network.traffic import RECEIVER, SECOND, TcpFlow, UdpStream, goodput

MS = 10**6
ROUNDS = 5
SETTLE_S = 2
"""The paths are known then."""

WARM_UP_S = 3
VOICE_RATE, VOICE_BYTES = 50, 172
"""Packets a second, and RTP with 20 ms of G.711 each (RFC 3551)."""

APART = 17 * SECOND
"""Each try begins so much later in the recordings than the one before."""

BUFFERS = "4096 131072 16777216"
"""Of TCP: no receiver is to be the limit, MPTCP's least of all."""

VERIZON = Recording("Verizon", "verizon-lte-short.up", 20 * MS, SECOND)
TMOBILE = Recording("T-Mobile", "tmobile-lte-short.up", 25 * MS, SECOND)
ORANGE = Recording("Orange", "orange-4g-2022-highway.up", 20 * MS, SECOND)
ATT = Recording("AT&T", "att-lte-2016-driving.down", 30 * MS, SECOND)
STARLINK = Recording("Starlink", "starlink.up", 4 * MS, 300 * MS, "starlink.owd.csv")
STARLINK_LATER = Recording(
    "Starlink later", "starlink.up", 25 * MS, 300 * MS, "starlink.owd.csv", skip=13 * SECOND
)


@dataclass(frozen=True, slots=True)
class Case:
    """Links, and how many TCP flows with which congestion control; voice is always beside them."""

    links: tuple[Recording, ...]
    flows: int = 1
    control: str = "CUBIC"
    seconds: float = 60

    @property
    def name(self) -> str:
        """Return e.g. ``Verizon+T-Mobile, 1 flow, CUBIC``."""
        links = "+".join(link.name for link in self.links)
        return f"{links}, {self.flows} flow{'s' * (self.flows > 1)}, {self.control}"

    @property
    def best(self) -> int:
        """Return the place of the link that carries most."""
        rates = [link.trace.rate for link in self.links]
        return rates.index(max(rates))


CASES = (
    Case((VERIZON, TMOBILE)),
    Case((VERIZON, TMOBILE), control="BBR"),
    Case((VERIZON, TMOBILE), flows=4),
    Case((ORANGE, VERIZON)),
    Case((STARLINK, TMOBILE)),
    Case((VERIZON, ATT, TMOBILE)),
    Case((STARLINK, STARLINK_LATER)),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one try brought.

    ``share``: TCP's, of the payload that all links could carry. ``voice``: its one-way delays, ns;
    ``lost``: the share of it that never came. ``suspensions``: of all paths, None: nobody asked.
    """

    share: float
    voice: tuple[int, ...]
    lost: float
    suspensions: int | None

    def told(self) -> dict[str, float]:
        """Return the figures by what they are, in their units."""
        parts = quantiles(self.voice, n=100) if len(self.voice) > 1 else []
        delays = {
            f"voice p{part}, ms": round(parts[part - 1] / MS, 1) for part in (50, 95, 99) if parts
        }
        suspensions = {} if self.suspensions is None else {"suspensions": self.suspensions}
        lost = {"voice lost, %": round(self.lost * 100, 2)}
        return {"share": round(self.share, 4), **delays, **lost, **suspensions}


def measure(candidates: Sequence[Candidate], tools: Path) -> Iterator[Row]:
    """Yield rows for every case and candidate, measured in turn."""
    for case in CASES:
        found: dict[str, list[dict[str, float]]] = {one.name: [] for one in candidates}
        problems: dict[str, str] = {}
        for number in range(ROUNDS):
            for candidate in candidates:
                if candidate.name not in problems:
                    try:
                        outcome = run(candidate, case, later=number * APART)
                        found[candidate.name].append(outcome.told())
                    except (OSError, RuntimeError, IpeqlError) as error:
                        problems[candidate.name] = str(error).partition("\n")[0]
        for name, tries in found.items():
            if name in problems:
                yield Row(f"{case.name}: share", name, problem=problems[name])
                continue
            for what in tries[0]:
                values = tuple(each[what] for each in tries if what in each)
                yield Row(f"{case.name}: {what}", name, values)


def run(candidate: Candidate, case: Case, *, later: int = 0, warm_up: float = WARM_UP_S) -> Outcome:
    """Run one try, which begins ``later`` ns into the recordings.

    OSError without a recording or MPTCP, RuntimeError or IpeqlError without the dataplane.
    """
    best = case.best
    with Lab([link.way_back for link in case.links]) as lab, ExitStack() as stack:
        for host in (lab.a, lab.b):
            host.sysctl("net/ipv4/tcp_rmem", BUFFERS)
            host.sysctl("net/ipv4/tcp_wmem", BUFFERS)
        daemon = None
        if candidate.method:
            daemon = stack.enter_context(_bundles(lab, candidate, case))
            destination = RECEIVER
            time.sleep(SETTLE_S)
        else:
            destination = str(lab.address(lab.b, lab.names[best]).ip)
            if candidate.kind == "mptcp":
                subflows(lab, lab.names[best])
        begin = play(lab, case.links, later)
        voice = UdpStream(lab, destination, rate=VOICE_RATE, size=VOICE_BYTES)
        flows = [_flow(lab, destination, candidate, case) for _ in range(case.flows)]
        next(flows[0].watch(), None)
        started = time.monotonic_ns()
        with ThreadPoolExecutor(case.flows) as pool:
            results = list(pool.map(TcpFlow.finish, flows))
        heard = voice.finish()
        suspensions = _suspensions(daemon) if daemon and candidate.kind.endswith(PROBED) else None
    since, until = (started + int(each * SECOND) for each in (warm_up, case.seconds))
    could = sum(link.carried(begin, since, until) for link in case.links)
    rate = sum(goodput(each.samples, int(warm_up * SECOND)) for each in results)
    return Outcome(
        rate * (until - since) / (8 * SECOND * could),
        heard.delays,
        heard.lost / heard.sent if heard.sent else 0.0,
        suspensions,
    )


def _flow(lab: Lab, destination: str, candidate: Candidate, case: Case) -> TcpFlow:
    return TcpFlow(
        lab,
        destination,
        seconds=case.seconds,
        congestion=case.control.lower(),
        multipath=candidate.kind == "mptcp",
    )


@contextmanager
def _bundles(lab: Lab, candidate: Candidate, case: Case) -> Iterator[Ipeqld]:
    """Have the candidate's bundle at both ends; ipeql0 has no queueing discipline."""
    near, far = (_configuration(candidate, case, own) for own in (1, 2))
    with Ipeqld(lab.b, far), Ipeqld(lab.a, near) as daemon:
        yield daemon


def _configuration(candidate: Candidate, case: Case, own: int) -> str:
    """Return a configuration: nothing but a probe, or the true means."""
    probes = candidate.kind.endswith(PROBED)
    slaves = []
    for number, link in enumerate(case.links, start=1):
        rate = round(link.trace.rate) if own == 1 else BACK_RATE
        known = "" if probes else f", bandwidth: {rate}bit, lag: {link.lag // 1000}us"
        slaves.append(f"name: eth{number}{known}")
    far = f"10.9.0.{3 - own}" if probes else ""
    return configuration(candidate, f"10.9.0.{own}", slaves, far)


def _suspensions(daemon: Ipeqld) -> int:
    (bundle,) = daemon.status()["bundles"]
    return sum(slave["path"]["suspensions"] for slave in bundle["slaves"])
