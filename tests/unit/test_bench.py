"""What the bench computes and tells; what it measures is measured by it alone.

``UPDATE_GOLDEN=1 pytest tests/unit/test_bench.py`` writes tests/golden/bench/*.md anew.
"""

import os
from importlib import import_module
from pathlib import Path

import pytest

from bench.candidates import FLOW, PLAIN, RULES, Candidate, chosen, sweep
from bench.configuration import PROBED
from bench.peers import PEERS
from bench.report import relatives
from bench.report.lines import CASES, COLUMNS, beside_1995
from bench.report.page import CELLS, NOTES, added, report
from bench.report.pages import BEGIN, END, TABLES, put_into
from bench.report.relatives import side_by_side
from bench.report.results import Row, Run, from_json, latest, load
from bench.scenarios import goodput, links
from bench.scenarios.catalogue import SCENARIOS, Scenario
from bench.scenarios.whole_flows import Brought
from bench.traffic import sent_order
from ipeql.backends.bpf.layout import METHODS as BPF_METHODS

ROOT = Path(__file__).parent.parent.parent
GOLDEN = ROOT / "tests" / "golden" / "bench"
RUNS = GOLDEN / "runs"
BUNDLES = ("bpf", "kmod", "tun")


def run(scenario: str, *rows: Row) -> Run:
    return Run(scenario, "2026-01-01T00:00:00+00:00", "6.1", "a machine", rows)


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_a_scenario_is_complete(scenario: Scenario) -> None:
    names = [candidate.name for candidate in scenario.candidates]
    assert len(names) == len(set(names))
    assert scenario.name in NOTES
    assert scenario.name in CELLS
    assert callable(import_module(f"bench.scenarios.{scenario.name.replace('-', '_')}").measure)


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_every_candidate_can_be_set_up(scenario: Scenario) -> None:
    for candidate in scenario.candidates:
        assert candidate.kind in PEERS or candidate.method
        assert candidate.rule in ("", *RULES)
        if candidate.method:
            kind = candidate.kind.removesuffix(PROBED)
            assert kind in BUNDLES
            assert kind != "bpf" or candidate.method in BPF_METHODS


def test_only_names_kinds_methods_and_single_candidates() -> None:
    candidates = (PLAIN, Candidate("bonding"), *sweep("bpf", ("round_robin", "bw_load"), (2, 32)))

    def only(text: str) -> list[str]:
        return [candidate.name for candidate in chosen(candidates, text)]

    assert len(only("")) == len(candidates)
    assert only("bpf/bw_load,plain") == ["plain", "bpf/bw_load/2", "bpf/bw_load/32"]
    assert only("bonding") == ["bonding/2"]
    assert only("bpf/round_robin/2") == ["bpf/round_robin/2"]
    ruled = (*candidates, Candidate("bpf", "bw_load", 2, FLOW))
    assert [one.name for one in chosen(ruled, "bpf/bw_load+flow")] == ["bpf/bw_load+flow/2"]
    assert chosen(ruled, "bpf/bw_load") == chosen(candidates, "bpf/bw_load")
    with pytest.raises(LookupError, match="no candidate bon;"):
        only("bon")


def test_a_run_survives_its_file() -> None:
    rows = Row("a", "plain", (1.0, 2.0), (3.0, 4.0)), Row("a", "bpf/bw_lag/2", problem="old kernel")
    before = run("packet-cost", *rows)
    assert from_json(before.to_json()) == before


def test_a_file_of_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="format 0"):
        from_json('{"format": 0}')


def test_the_latest_row_counts_unless_it_failed() -> None:
    runs = [
        run("goodput", Row("a", "x", (1.0,)), Row("b", "x", problem="no")),
        run("failover", Row("a", "x", (9.0,))),
        run("goodput", Row("a", "x", (2.0,)), Row("b", "x", (3.0,))),
        run("goodput", Row("a", "x", problem="no")),
    ]
    assert {key: row.values for key, row in latest(runs, "goodput").items()} == {
        ("a", "x"): (2.0,),
        ("b", "x"): (3.0,),
    }


def test_a_ratio_is_taken_round_by_round() -> None:
    assert Row("a", "x", (8.0, 1.0, 9.0), (10.0, 2.0, 10.0)).ratio == 0.8


def test_what_is_added_is_counted_from_what_a_candidate_is_built_upon() -> None:
    values = {"plain": 10.0, "ipip": 30.0, "eql/2": 35.0, "team/2": 12.0}
    rows = {("delivered", name): Row("delivered", name, (value,)) for name, value in values.items()}
    assert added(rows["delivered", "eql/2"], rows) == 5
    assert added(rows["delivered", "team/2"], rows) == 2
    del rows["delivered", "ipip"]
    assert added(rows["delivered", "eql/2"], rows) == 25
    del rows["delivered", "plain"]
    assert added(rows["delivered", "eql/2"], rows) is None


def test_goodput_is_what_came_in_whole_seconds_after_the_warm_up() -> None:
    def second(start: float, octets: int, seconds: float = 1.0) -> dict[str, object]:
        return {"sum": {"start": start, "seconds": seconds, "bytes": octets}}

    intervals = [second(0, 10), second(1.0, 10), second(2.0001, 1000), second(3.0, 3000)]
    assert goodput.received({"intervals": [*intervals, second(4.0, 0, 0.01)]}, 2) == 16000
    assert goodput.received({"intervals": intervals[:2]}, 2) == 0


def test_the_page_of_canned_runs() -> None:
    _golden("report.md", report(load(RUNS)))


def test_the_table_of_canned_runs() -> None:
    _golden("side_by_side.md", side_by_side(load(RUNS)) + "\n")


def test_the_picture_of_canned_runs(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from bench.report.plot import draw

    draw(tmp_path / "picture.png", load(RUNS))
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_the_table_of_relatives_asks_for_what_is_measured() -> None:
    assert list(relatives.METHODS) == [case.name for case in goodput.CASES]
    for case in goodput.CASES:
        assert set(relatives.METHODS[case.name]) <= set(case.methods)
    measured = {candidate.kind for one in SCENARIOS.values() for candidate in one.candidates}
    assert {*relatives.PEERS, *relatives.OURS} <= measured


def test_the_table_of_serial_lines_of_canned_runs() -> None:
    _golden("beside_1995.md", beside_1995(load(RUNS)) + "\n")


def test_the_table_of_serial_lines_asks_for_what_is_measured() -> None:
    measured = {candidate.name for candidate in SCENARIOS["serial"].candidates}
    assert len({case.name for case in CASES}) == len(CASES)
    assert set(COLUMNS) <= measured
    for case in CASES:
        assert set(case.ours) <= measured


def test_a_page_without_marks_is_refused() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert put_into(page, "new") == page.replace("old", "new")
    with pytest.raises(ValueError, match="the page has no"):
        put_into("nothing", "new")


def test_the_documentation_has_what_was_measured() -> None:
    runs = load(ROOT / "docs" / "measurements")
    assert (ROOT / "docs" / "measurements.md").read_text() == report(runs)
    for name, table in TABLES.items():
        page = (ROOT / "docs" / name).read_text()
        assert page == put_into(page, table(runs))


def _golden(name: str, found: str) -> None:
    expected = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        expected.write_text(found)
    assert found == expected.read_text()


def test_what_a_try_over_recorded_links_tells() -> None:
    delays = tuple(each * 10**6 for each in range(1, 100))
    outcome = links.Outcome(0.87654, delays, 0.01, 3)
    assert outcome.told() == {
        "share": 0.8765,
        "voice p50, ms": 50.0,
        "voice p95, ms": 95.0,
        "voice p99, ms": 99.0,
        "voice lost, %": 1.0,
        "suspensions": 3,
    }
    assert links.Outcome(0.5, (), 1.0, None).told() == {"share": 0.5, "voice lost, %": 100.0}


def test_every_case_of_recorded_links_has_a_name_of_its_own() -> None:
    names = [case.name for case in links.CASES]
    assert names[0] == "Verizon+T-Mobile, 1 flow, CUBIC"
    assert len(names) == len(set(names))
    assert links.Case((links.STARLINK, links.STARLINK_LATER)).best == 0


def test_the_sending_order_goes_on_where_identifications_begin_anew() -> None:
    assert list(sent_order([65534, 65535, 1, 0, 2])) == [65534, 65535, 65537, 65536, 65538]
    assert list(sent_order([0, 65535, 1])) == [0, -1, 1]
    assert list(sent_order([])) == []


def test_flows_are_even_where_all_bring_as_much() -> None:
    assert Brought((3.0, 3.0), 0).evenness == 1
    assert Brought((3.0, 0.0), 0).evenness == 0.5
    assert Brought((0.0,), 0).evenness == 0
