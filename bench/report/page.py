"""What runs have measured, as Markdown. Pure."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median

from bench.candidates import PLAIN
from bench.report.results import Row, Run, latest
from bench.scenarios.catalogue import SCENARIOS, Scenario

Rows = Mapping[tuple[str, str], Row]
"""By case and candidate."""

NOTHING = "–"
WIDEST = 8
"""Columns of figures that a page has room for."""
BASES = {"eql/2": "ipip"}

HEAD = """\
# Measurements

Made by `python -m bench report`; do not edit. Every single value lies in
[measurements](measurements). A name is *kind*/*method*/*slaves*: `plain` is one link without a
bundle; `bpf`, `kmod` and `tun` are IPEQL's dataplanes; [IPEQL and its relatives](relatives.md)
says what the others are. `python -m bench run` measures again.

![Measurements](measurements.png)
"""

NOTES = {
    "packet-cost": """\
UDP datagrams of 64 bytes by `sendmmsg(2)`, 64 a call, on one processor: the sender's system calls,
the stack, the bundle, the slaves. *tx only*: the slaves are dummy devices, which drop. *delivered*:
over veth pairs to another namespace, up to a socket that nobody reads. The clock counts
instructions, so the figures are exact and alike on any machine; they do not know of cache misses,
or of processors that wait for each other. In brackets: added to the plain link's; where `eql`
delivers, through ipip tunnels, to those of one such tunnel (`ipip`). `+flow` has `stripe-unit:
flow`, `+spare` a second slave with `use: when-down`, `+class` a class whose DSCP no packet has.""",
    "goodput": """\
One TCP flow (CUBIC, iperf3) to an unmodified Linux receiver; goodput after the first 2 s, as a
share of the payload that all links together can carry. Each link has its rate and a queue of
150 kB in the middle, so that the sender feels no back-pressure, and the delay both ways. The rate
is a token bucket's (tbf), which passes four packets at once after a pause, or, *lines*, a line's
(netem), on which every packet takes its time. The configuration of IPEQL has 99.5 % of each rate.
Segmentation offload is off. There are three flows where chance has a part, and one elsewhere, since
the clock gives the same result again. Least and most are shown where they differ by a hundredth.
TCP delivers in order: data that wait behind a hole when counting begins are counted, so a share may
be a hundredth above 1.""",
    "congestion": """\
As above over lines, with CUBIC or BBR. *Steady*: 8 s without the first 2; *with its start*: 12 s.
*Both ends*: acknowledgements come back by a bundle too; elsewhere over the first link.""",
    "flows": """\
Twenty flows (CUBIC) at once for 8 s over two links without a limit, one of which takes 20 ms longer
each way: the median of the twenty, and in brackets the slowest and the fastest.""",
    "whole-flows": """\
So many TCP flows (CUBIC) at once to an unmodified receiver; goodput of all for 3 s after the first
2, as a share of the payload that both links together can carry. Each link is a line (netem) with a
drop-tail queue of 100 ms and a delay of 5 ms. `+flow` is `stripe-unit: flow`; `bonding-xor` is
balance-xor with `xmit_hash_policy layer3+4`; `ecmp` a multipath route by ports, whose weights are
the rates. Their flows' links are chance: three tries, of which least and most are shown where they
differ by a hundredth. The bundle of IPEQL is new each time, but where the flows come *after one*
that had the bundle alone for 5 s. *Evenness* is Jain's index of the flows' goodputs: 1
where all are alike. *Reordered* (RFC 4737) counts those of all packets of a candidate over these
links that arrived after one that its own flow sent later; the sending order is that of the IPv4
identification, which Linux counts up with each packet of a connection, sent again or not.""",
    "voice": """\
50 packets of 172 bytes a second with DSCP EF, 1000 of them, beside one TCP flow (CUBIC) over two
lines (netem) of 20 Mbit/s with a drop-tail queue of 100 ms; one takes 5 ms, the other 50. One-way
delays: their median and 95th percentile. `+class` has a class for EF with the method `bw_lag_val`;
answers and acknowledgements come back over the first link. `plain` is that link alone. *Ping*: the
round trip of 20 echo requests before there is anything else: the median, and in brackets least and
most.""",
    "loss": """\
2000 datagrams a second over two links without a limit that lose 5 % of all packets each, at random
or in bursts of 5.3 packets in the mean (netem's `gemodel`): those of which no copy came. Of 48,000
at random and 120,000 in bursts. If the links lose independently, 0.25 % are lost on both. `plain`
is one of the links.""",
    "failover": """\
UDP at 1000 datagrams a second over two links, of which the first fails: *set down* by the sender,
*carrier lost* since the far end is set down, *silent* where both ends drop what comes in and the
carrier stays. Lost until the end, 3.5 s later: about 1750 is half of them. Three tries
each: the median, and in brackets least and most. `bonding` has `miimon 100`, `bonding-arp`
`arp_interval 100`. The slaves of `eql` are tunnels here, which stay up when the link below goes.
An ECMP route loses all or nothing: it keeps the flow on one of the links. `-probe`: IPEQL's daemon
at both ends, with `probe`; elsewhere nothing asks whether IPEQL's far end is still there. A link
whose own filters drop every probe is given 0.2 s before that counts as silence, since a full queue
does so too: that is in the figures of *silent*. Less than none was lost where `tun` sent again what
a path had been given before it was known to fail.""",
    "probes": """\
Processor time of the prober at the sending end, while 1000 datagrams a second go over the bundle,
so that every slave is probed as often as it ever is. Both ends probe; the far end, which sends
nothing, seldom. A second of a processor is some 10^9 to 3 x 10^9 instructions.""",
    "silence": """\
Two emulated links of 20 Mbit/s, of which the first, with a delay of 5 ms, is silent for 2 s in both
directions. *out*: until the last datagram was sent over it; *back*: from its return to the first
one; *lost* of 1000 a second; *stall*: the longest time between two reads of a TCP receiver since it
was silent. IPEQL's daemon at both ends, with `probe`; MPTCP by its in-kernel path manager, TCP
alone. Twenty tries each: the median, and in brackets least and most.""",
    "links": """\
Recordings of real uplinks ([lab/traces](../lab/traces/README.md)), played by the lab's emulator
towards the receiver, with a queue of a second (Starlink: 0.3 s) before each; the way back carries
10 Mbit/s. TCP for 60 s without the first three, as a *share* of the payload that all recordings
together could have carried meanwhile, and beside it a voice stream, 50 packets of 172 bytes a
second. `plain` is the better link alone, where MPTCP's voice goes too; `tun` is IPEQL with the
recordings' true mean rates and no probe, `tun-probe` IPEQL with a probe and no numbers; ipeql0 has
no queueing discipline. *Suspensions* are those of all paths. The candidates are measured in turn,
five times, each time 17 s later in the recordings: the median, and in brackets least and most.""",
    "serial": """\
One TCP flow (CUBIC) after the other, over pseudo-terminals paced at ten bits a byte
(`lab/network/serial_line.py`), the kernel's own queueing discipline (fq_codel) on every line; 45 s
of each after the first 15. Acknowledgements come back over the first line. The median of three
flows, five over four lines of 38.4 kbit/s, and in brackets least and most.""",
    "unshaped": """\
Two plain veth pairs on the running kernel, a plain link and the bundle in turn; the ratio is the
median of the rounds' ratios.""",
    "packet-rate": """\
UDP datagrams of 64 bytes that arrived, on the running kernel, a plain link and the bundle in turn;
in brackets the median ratio to the plain link with as many senders.""",
    "reconfiguration": """\
`ipeql reload` under 1000 datagrams a second, two slaves, round_robin; the time is the command's,
the start of Python included.""",
    "memory": """\
Proportional set size, after a TCP flow. The bpf and kmod dataplanes have no process.""",
}
"""What a reader has to know of each scenario."""


def report(runs: Sequence[Run]) -> str:
    """Return the page for ``runs``, oldest first."""
    sections = [HEAD]
    for scenario in SCENARIOS.values():
        of_it = [run for run in runs if run.scenario == scenario.name]
        if of_it:
            sections.append(_section(scenario, of_it))
    return "\n".join(sections)


def _section(scenario: Scenario, runs: Sequence[Run]) -> str:
    rows = latest(runs, scenario.name)
    where = dict.fromkeys(f"Linux {run.kernel}; {run.machine}" for run in runs)
    said = "\n".join(f"{place}, {_dates(place, runs)}." for place in where)
    parts = [f"## {scenario.title}", NOTES[scenario.name], f"Unit: {scenario.unit}. {said}"]
    parts.append(table(scenario, rows))
    missing = _missing(rows)
    if missing:
        parts.append(missing)
    return "\n\n".join(parts) + "\n"


def _dates(place: str, runs: Sequence[Run]) -> str:
    dates = sorted(run.date[:10] for run in runs if f"Linux {run.kernel}; {run.machine}" == place)
    return dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"


def table(scenario: Scenario, rows: Rows) -> str:
    """Return a Markdown table: a line for each candidate measured, a column for each case.

    The other way round where the cases are many.
    """
    cases = list(dict.fromkeys(case for case, _ in rows))
    lines = [["", *cases]]
    for candidate in scenario.candidates:
        found = [rows.get((case, candidate.name)) for case in cases]
        if any(row and row.values for row in found):
            cells = [cell(scenario, row, rows) if row else NOTHING for row in found]
            lines.append([candidate.name, *cells])
    return markdown(lines if len(cases) <= WIDEST else [*zip(*lines, strict=True)])


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Return a table whose first line is its head, all columns but the first to the right."""
    head, *body = lines
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *body))


def cell(scenario: Scenario, row: Row, rows: Rows) -> str:
    """Return what a table says of a row."""
    return CELLS[scenario.name](row, rows) if row.values else NOTHING


def added(row: Row, rows: Rows) -> float | None:
    """Return by how much a row's median is above what it is built upon, in the same case.

    That is the plain link, or the tunnel where its slaves are tunnels.
    """
    for basis in (BASES.get(row.candidate, ""), PLAIN.name):
        below = rows.get((row.case, basis))
        if below and below.values:
            return row.value - below.value
    return None


def _cost(row: Row, rows: Rows) -> str:
    more = added(row, rows)
    return f"{row.value:.0f}" + ("" if not more else f" ({more:+.0f})")


def _share(row: Row, rows: Rows) -> str:
    least, most = min(row.values), max(row.values)
    return f"{row.value:.3f}" if most - least < 0.01 else f"{least:.3f}–{most:.3f}"


def _counts(row: Row, rows: Rows) -> str:
    least, most = min(row.values), max(row.values)
    return f"{row.value:.0f}" if least == most else f"{row.value:.0f} ({least:.0f}–{most:.0f})"


def _figures(row: Row, rows: Rows) -> str:
    return f"{row.value:.3g} ({min(row.values):.3g}–{max(row.values):.3g})"


def _tenths(row: Row, rows: Rows) -> str:
    return f"{row.value:.1f} ({min(row.values):.1f}–{max(row.values):.1f})"


def _beside(row: Row, rows: Rows) -> str:
    return f"{row.value:.3g} ({row.ratio:.2f})"


def _ratio(row: Row, rows: Rows) -> str:
    return f"{row.value:.2f}, plain {median(row.beside):.2f}, ratio {row.ratio:.3f}"


def _voice(row: Row, rows: Rows) -> str:
    return _figures(row, rows) if len(set(row.values)) > 1 else f"{row.value:.3g}"


def _hundredths(row: Row, rows: Rows) -> str:
    return f"{row.value:.2f}"


def _share_or_count(row: Row, rows: Rows) -> str:
    if row.case.endswith("reordered"):
        return f"{sum(row.values):.0f}"
    return _share(row, rows)


def _plain(row: Row, rows: Rows) -> str:
    return f"{row.value:g}"


CELLS: dict[str, Callable[[Row, Rows], str]] = {
    "packet-cost": _cost,
    "goodput": _share,
    "congestion": _share,
    "flows": _tenths,
    "whole-flows": _share_or_count,
    "voice": _voice,
    "loss": _hundredths,
    "failover": _counts,
    "probes": _plain,
    "silence": _counts,
    "links": _figures,
    "serial": _tenths,
    "unshaped": _ratio,
    "packet-rate": _beside,
    "reconfiguration": _counts,
    "memory": _plain,
}
"""How the tables write a row that has values."""


def _missing(rows: Rows) -> str:
    """Say what could not be measured, and why."""
    reasons: dict[str, list[str]] = {}
    for row in rows.values():
        if row.problem:
            names = reasons.setdefault(row.problem, [])
            if row.candidate not in names:
                names.append(row.candidate)
    if not reasons:
        return ""
    told = (f"{', '.join(names)} ({reason})" for reason, names in reasons.items())
    return f"Not measured: {'; '.join(told)}."
