"""The status document and what people see of it, against tests/golden/cli.

UPDATE_GOLDEN=1 writes the files anew.
"""

import errno
import io
import json
import os
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ipeql.apply.refusal import explain
from ipeql.cli.reading.figures import rate
from ipeql.cli.reading.screen import bar, status_table
from ipeql.documents.configuration import configuration
from ipeql.documents.status import describe
from ipeql.errors import Code, Mark, Problem
from ipeql.plan import SetFilter
from ipeql.state import (
    AUTO,
    DEVICE,
    TRANSIENT,
    BundleSpec,
    BundleStatistics,
    BundleTable,
    Capabilities,
    DesiredState,
    Learning,
    Link,
    LinkMatch,
    ObservedBundle,
    ObservedState,
    PathReport,
    ProbeKeys,
    ProbeSpec,
    Rung,
    SlaveRow,
    SlaveSpec,
    SlaveStatistics,
    Standing,
    TrafficClass,
    Verdict,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "cli"
MBIT, MS = 10**6, 10**6


def agrees(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


HOME = BundleSpec(
    "ipeql0",
    "bw_lag_eq",
    slaves=(
        SlaveSpec("eth1", bandwidth=100 * MBIT, lag=5 * MS, mark=Mark("/etc/ipeql/a.yaml", 9, 9)),
        SlaveSpec("ppp0", bandwidth=28_800, lag=120 * MS, changed=(("lag", TRANSIENT),)),
        SlaveSpec(match=LinkMatch(name="wwan*"), lag=AUTO),
        SlaveSpec("eth9", bandwidth=10 * MBIT, lag=10 * MS, changed=(("slave", TRANSIENT),)),
    ),
    parameters=(("max_hold", 200 * MS),),
    addresses=(IPv4Interface("10.9.0.1/24"),),
    probe=ProbeSpec(IPv4Address("10.9.0.2")),
    min_slaves=3,
    classes=(TrafficClass((46, 40, 35), "duplicate"), TrafficClass((34,), "bw_lag_val")),
    mark=Mark("/etc/ipeql/a.yaml", 3, 3),
    changed=(("max-hold", TRANSIENT), ("min-slaves", "/etc/ipeql/saved.yaml:4")),
    freed=(("eth7", TRANSIENT),),
)
OFFICE = BundleSpec("ipeql1", "round_robin", slaves=(SlaveSpec("eth2"),), backend="bpf")
SPARE = BundleSpec("ipeql2", "bw_load", slaves=(SlaveSpec("eth3", bandwidth=DEVICE),))
DESIRED = DesiredState({spec.name: spec for spec in (HOME, OFFICE, SPARE)}, generation=3)


def row(ifindex: int, name: str, bandwidth: int, lag: int, usable: bool = True) -> SlaveRow:
    return SlaveRow(ifindex, name, bandwidth, lag, 14, usable=usable)


OBSERVED = ObservedState(
    links={
        1: Link(1, "ipeql0", alias="ipeql:ipeql0", mtu=1500),
        2: Link(2, "eth1"),
        3: Link(3, "ppp0", carrier=False, arphrd=512),
        4: Link(4, "wwan0"),
        5: Link(5, "wwan1"),
        6: Link(6, "ipeql2", alias="ipeql:ipeql2"),
        7: Link(7, "eth3"),
    },
    bundles={
        "ipeql0": ObservedBundle(
            "tun",
            BundleTable(
                "bw_lag_eq",
                parameters=(("max_hold", 200 * MS), ("queue_limit", 1670 * MS)),
                slaves=(
                    row(2, "eth1", 100 * MBIT, 5 * MS),
                    row(3, "ppp0", 28_800, 120 * MS, usable=False),
                    row(4, "wwan0", 20 * MBIT, 0),
                ),
            ),
        ),
        "ipeql2": ObservedBundle("tun", BundleTable("bw_load")),
    },
    capabilities={
        "tun": Capabilities(
            "tun",
            True,
            frozenset({"bw_lag_eq", "bw_load"}),
            frozenset({"burst"}),
            rank=10,
            lacks={"bundle": "libbpf.so.1 is not installed; install libbpf1"},
        )
    },
    verdicts={
        (HOME.name, 3): Verdict(False, "no-carrier", "no signal on the link"),
        (HOME.name, 5): Verdict(False, "path-down", "no answer so far"),
    },
    paths={
        (HOME.name, 2): PathReport(
            Standing.UP, 0, "", Rung.COUNTED, 10_400_000, 0, loss=0.0, suspensions=2
        ),
        (HOME.name, 3): PathReport(Standing.DOWN, 0, "no answer", Rung.ICMP, None, None, loss=1.0),
        (HOME.name, 4): PathReport(
            Standing.SUSPENDED,
            0,
            "no answer",
            Rung.ICMP,
            91_000_000,
            40_300_000,
            True,
            0.052,
            31,
            18_700_000,
            12 * MS,
            Learning.TRACK,
            17_300_000,
        ),
        (HOME.name, 5): PathReport(
            Standing.DOWN, 0, "no answer so far", loss=1.0, learning=Learning.STARTUP
        ),
    },
)
STATISTICS = {
    "ipeql0": BundleStatistics(
        slaves=(
            SlaveStatistics(
                2,
                "eth1",
                900,
                900,
                1_200_000,
                3,
                4344,
                48_200_000,
                received_packets=850,
                received_bytes=70_000,
            ),
            SlaveStatistics(3, "ppp0"),
            SlaveStatistics(
                4, "wwan0", 300, 290, 400_000, 0, 0, 9_640_000, {"queue_full": 10, "no_buffer": 0}
            ),
        ),
        dropped={"no_slave": 2},
    )
}
PROBLEMS = (
    Problem(
        Code.NO_BACKEND,
        "ipeql1: no backend supports it: there is no backend bpf",
        "choose 'backend: auto'",
        bundle="ipeql1",
    ),
    Problem(Code.UNREADABLE, "/etc/ipeql/b.yaml is a directory", "remove it"),
)
DOCUMENT = describe(DESIRED, OBSERVED, STATISTICS, PROBLEMS, daemon=True)


def text(width: int, bars: bool = False) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(status_table(DOCUMENT["bundles"], bars, width >= 100))
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"


def test_status_for_people() -> None:
    agrees("status.txt", text(120))


def test_status_on_a_narrow_screen() -> None:
    agrees("status-80.txt", text(80))


def test_status_on_a_wide_screen() -> None:
    agrees("status-bars.txt", text(100, bars=True))


def test_status_for_programs() -> None:
    agrees("status.json", json.dumps(DOCUMENT, indent=2) + "\n")


def test_show_for_programs() -> None:
    agrees("show.json", json.dumps(configuration(HOME), indent=2) + "\n")


def test_states_of_a_bundle() -> None:
    def state(usable: int, min_slaves: int) -> str:
        names = ("eth1", "eth2", "eth3")
        spec = BundleSpec(
            "b0", "round_robin", tuple(SlaveSpec(name) for name in names), min_slaves=min_slaves
        )
        links = {i: Link(i, name, carrier=i < usable) for i, name in enumerate(names)}
        table = BundleTable("round_robin", slaves=tuple(map(row_of, links.values())))
        observed = ObservedState(links=links, bundles={"b0": ObservedBundle("tun", table)})
        shown = describe(DesiredState({"b0": spec}), observed, {}, (), daemon=True)
        return str(shown["bundles"][0]["state"])

    def row_of(link: Link) -> SlaveRow:
        return SlaveRow(link.ifindex, link.name)

    assert [state(usable, 2) for usable in range(4)] == ["down", "degraded", "ready", "ready"]
    assert [state(usable, 1) for usable in range(4)] == ["down", "ready", "ready", "ready"]


OTHERS, FULL = "rests: others are usable", "rests until the others are full"


@pytest.mark.parametrize(
    ("uses", "down", "reasons"),
    [
        ("always when-full when-down", "", ["", FULL, OTHERS]),
        ("when-down always when-down", "", [OTHERS, "", OTHERS]),
        ("always when-full when-down", "eth0", ["", "", OTHERS]),
        ("always when-full when-down when-down", "eth0 eth1", ["", "", "", OTHERS]),
        ("always when-down when-down", "eth0 eth1", ["", "", ""]),
        ("when-full when-full", "", ["", ""]),
        ("when-down when-down", "", ["", OTHERS]),
        ("always when-full when-down", "eth0 eth1 eth2", ["", "", ""]),
    ],
)
def test_a_slave_that_rests_says_why(uses: str, down: str, reasons: list[str]) -> None:
    for standing in (Standing.UP, Standing.SUSPENDED):
        for slave, use, reason in zip(
            resting(uses.split(), down.split(), standing), uses.split(), reasons, strict=True
        ):
            failed = slave["name"] in down and standing is Standing.UP
            assert slave["state"] == ("no-carrier" if failed else "active")
            assert slave["use"] == use
            assert slave["reason"] == ("no signal on the link" if failed else reason)


def resting(uses: list[str], down: list[str], standing: Standing) -> list[dict[str, Any]]:
    """Return the slaves of a bundle; those of ``down`` are suspended, or have no carrier."""
    has_failed = standing is Standing.UP
    links = {
        i: Link(i, f"eth{i}", carrier=f"eth{i}" not in down or not has_failed)
        for i in range(len(uses))
    }
    spec = BundleSpec(
        "b0",
        "round_robin",
        tuple(
            SlaveSpec(f"eth{i}", bandwidth=MBIT, use=use, probe=ProbeKeys(IPv4Address("10.9.0.2")))
            for i, use in enumerate(uses)
        ),
    )
    rows = tuple(SlaveRow(link.ifindex, link.name) for link in links.values())
    paths = {
        ("b0", i): PathReport(standing if link.name in down else Standing.UP, 0)
        for i, link in links.items()
    }
    observed = ObservedState(
        links=links,
        bundles={"b0": ObservedBundle("tun", BundleTable("round_robin", slaves=rows))},
        paths=paths,
    )
    document = describe(DesiredState({"b0": spec}), observed, {}, (), daemon=True)
    (bundle,) = document["bundles"]
    assert bundle["usable_slaves"] == sum(slave["state"] == "active" for slave in bundle["slaves"])
    return list(bundle["slaves"])


def test_people_see_how_a_slave_is_used() -> None:
    slaves = resting(["always", "when-full", "when-down"], ["eth0"], Standing.UP)
    console = Console(file=io.StringIO(), width=120)
    bundle = DOCUMENT["bundles"][1] | {"slaves": slaves}
    console.print(status_table([bundle], False, True))
    assert isinstance(console.file, io.StringIO)
    notes = [line for line in console.file.getvalue().splitlines() if line.startswith("  eth")]
    assert [line.rstrip().rpartition("  ")[2] for line in notes[:3]] == [
        "no signal on the link",
        "when-full",
        "when-down; rests: others are usable",
    ]


@pytest.mark.parametrize(
    ("bits", "shown"),
    [
        (0, "0 bit/s"),
        (999, "999 bit/s"),
        (1000, "1.00 kbit/s"),
        (48_249_000, "48.2 Mbit/s"),
        (99_960_000, "100 Mbit/s"),
        (999_600_000, "1.00 Gbit/s"),
        (12_345_678_901, "12.3 Gbit/s"),
        (1_234_567_890_123, "1235 Gbit/s"),
    ],
)
def test_a_rate_has_three_digits(bits: int, shown: str) -> None:
    assert rate(bits) == shown


def test_a_bar_never_leaves_its_cells() -> None:
    assert [bar(fraction) for fraction in (-1, 0, 1 / 64, 0.5, 1, 7)] == [
        "",
        "",
        "▏",
        "████",
        "████████",
        "████████",
    ]


def test_a_bundle_whose_reverse_path_filter_is_refused_is_degraded() -> None:
    """A container may have /proc/sys read-only: what comes for the bundle is dropped then."""
    action = SetFilter(bundle="ipeql2", ifindex=7, name="eth3", before=1, after=2)
    (problem,) = explain(action, OSError(errno.EROFS, "Read-only file system"))
    assert problem.code is Code.FILTER_REFUSED
    assert str(action) in problem.message
    link = replace(OBSERVED.links[7], speed=100 * MBIT)
    table = BundleTable("bw_load", slaves=(row(7, "eth3", 100 * MBIT, 0),))
    observed = replace(
        OBSERVED,
        links={**OBSERVED.links, 7: link},
        bundles={**OBSERVED.bundles, "ipeql2": ObservedBundle("tun", table)},
    )
    for problems, state in (((), "ready"), ((problem,), "degraded")):
        document = describe(DESIRED, observed, STATISTICS, problems, daemon=True)
        assert document["bundles"][2]["state"] == state
