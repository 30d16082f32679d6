"""IPEQL beside what else Linux has: tables of all that was measured over two links. Pure."""

from collections.abc import Sequence

from bench.report.page import NOTHING, Rows, added, cell, markdown
from bench.report.results import Run, latest
from bench.scenarios.catalogue import SCENARIOS

PEERS = {
    "bonding": "bonding, `balance-rr`",
    "bonding-arp": "bonding, `arp_interval 100`",
    "team": "team, `roundrobin`",
    "teql": "sch_teql",
    "eql": "eql",
    "ecmp": "ECMP route",
    "mptcp": "MPTCP",
}
OURS = {
    "bpf": "IPEQL, bpf",
    "bpf-probe": "IPEQL, bpf, with a probe",
    "kmod": "IPEQL, kmod",
    "kmod-probe": "IPEQL, kmod, with a probe",
    "tun": "IPEQL, tun",
    "tun-probe": "IPEQL, tun, with a probe",
}

METHODS = {
    "20+20 Mbit/s": ("round_robin", "bw_lag_eq"),
    "20+5 Mbit/s": ("bw_load", "bw_lag_eq"),
    "20+2 Mbit/s": ("bw_load", "bw_lag_eq"),
    "10+10 Mbit/s, 5 and 50 ms": ("bw_lag_eq", "bw_lag_val"),
    "lines, 20+5 Mbit/s": ("bw_lag_eq", "bw_lag_val"),
    "lines, 20+2 Mbit/s": ("bw_lag_eq", "bw_lag_val"),
    "lines, 10+10 Mbit/s, 5 and 50 ms": ("bw_lag_eq", "bw_lag_val"),
}
"""The methods of ours for each case of goodput, the best first; the rest is round_robin's."""


def side_by_side(runs: Sequence[Run]) -> str:
    """Return two tables as Markdown, of the peers and dataplanes of which anything is known.

    One of cost and failover, one of goodput.
    """
    cost, goodput, failover = (
        latest(runs, scenario) for scenario in ("packet-cost", "goodput", "failover")
    )
    costs, losses = _cases(cost), _cases(failover)
    first = [
        ["", *(f"instructions added, {one}" for one in costs), *(f"lost, {one}" for one in losses)]
    ]
    second = [["TCP over", *METHODS]]
    for kind, title in {**PEERS, **OURS}.items():
        name = f"{kind}/round_robin/2" if kind in OURS else f"{kind}/2"
        cells = [_added(cost, case, name) for case in costs]
        cells += [_cell("failover", failover, case, name) for case in losses]
        shares = [_goodput(goodput, case, kind) for case in METHODS]
        for table, found in ((first, cells), (second, shares)):
            if set(found) - {NOTHING}:
                table.append([title, *found])
    return f"{markdown(first)}\n\n{markdown(second)}"


def _cases(rows: Rows) -> list[str]:
    return list(dict.fromkeys(case for case, _ in rows))


def _added(rows: Rows, case: str, name: str) -> str:
    row = rows.get((case, name))
    more = added(row, rows) if row and row.values else None
    return NOTHING if more is None else f"{more:.0f}"


def _goodput(rows: Rows, case: str, kind: str) -> str:
    if kind in PEERS:
        return _cell("goodput", rows, case, f"{kind}/2")
    for method in METHODS[case]:
        told = _cell("goodput", rows, case, f"{kind}/{method}/2")
        if told != NOTHING:
            return f"{told} ({method})"
    return NOTHING


def _cell(scenario: str, rows: Rows, case: str, name: str) -> str:
    row = rows.get((case, name))
    return cell(SCENARIOS[scenario], row, rows) if row else NOTHING
