"""Golden cases: what is wanted, what is there, and the plan as people see it.

``UPDATE_GOLDEN=1 pytest tests/unit/plan/test_plan.py`` writes what the code now says;
read the diff.
"""

import os
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

from ipeql.errors import Code
from ipeql.methods import MAX_SLAVES, METHODS
from ipeql.plan import Plan, choose_backend, members, plan, undo
from ipeql.plan.members import enslave, measured_bandwidth
from ipeql.plan.trains import train_limit
from ipeql.state import (
    AUTO,
    BundleSpec,
    Capabilities,
    DesiredState,
    Link,
    LinkMatch,
    Measured,
    ObservedBundle,
    ObservedState,
    ProbeSpec,
    SlaveSpec,
    TrafficClass,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "plan"
CASES = sorted(path.name for path in GOLDEN.iterdir())

MS = 10**6
NOTHING = ObservedState()
ABLE = Capabilities("tun", True, frozenset(METHODS), frozenset({"burst", "packet"}), rank=10)


def read_desired(path: Path) -> DesiredState:
    bundles = yaml.safe_load(path.read_text())
    named = {name: {"name": name, **bundle} for name, bundle in bundles.items()}
    return TypeAdapter(DesiredState).validate_python({"bundles": named})


def read_observed(path: Path) -> ObservedState:
    """Links are a list, verdicts too; a tun backend that can do everything is there by default.

    Addresses are ours unless ``own_addresses`` says otherwise, but for link-local ones. A device's
    train limit is that of its table, unless it is given.
    """
    shown: dict[str, Any] = yaml.safe_load(path.read_text())
    for link in shown.get("links", ()):
        addresses = link.get("addresses", ())
        link.setdefault("own_addresses", [each for each in addresses if "fe80:" not in each])
    shown["links"] = {link["ifindex"]: link for link in shown.get("links", ())}
    shown["verdicts"] = {
        (verdict.pop("bundle"), verdict.pop("ifindex")): verdict
        for verdict in shown.get("verdicts", ())
    }
    shown.setdefault("capabilities", {"tun": ABLE})
    given = {ifindex for ifindex, link in shown["links"].items() if "train_limit" in link}
    observed = TypeAdapter(ObservedState).validate_python(shown)
    limits = {
        link.ifindex: train_limit(bundle.table)
        for name, bundle in observed.bundles.items()
        if bundle.table and (link := observed.device(name)) and link.ifindex not in given
    }
    links = {
        ifindex: replace(link, train_limit=limits.get(ifindex, link.train_limit))
        for ifindex, link in observed.links.items()
    }
    return replace(observed, links=links)


def read_case(case: str) -> Plan:
    folder = GOLDEN / case
    return plan(read_desired(folder / "desired.yaml"), read_observed(folder / "observed.yaml"))


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str) -> None:
    found = read_case(case)
    lines = [action.describe() for action in found.actions]
    lines += [problem.render() for problem in found.problems]
    text = "".join(f"{line}\n" for line in lines)
    golden = GOLDEN / case / "plan.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()


def test_undoing_a_change_of_backend_brings_the_old_one_back_whole() -> None:
    destroy = read_case("backend_change").actions[0]
    assert [str(action) for action in undo(destroy)] == [
        "+ create ipeql0 (tun)",
        "+ configure ipeql0: bw_load over eth1, eth2",
        "~ up ipeql0",
        "~ mtu ipeql0: 1500",
        "~ train limit ipeql0: none -> 1 packet",
        "+ address 10.9.0.1/24 on ipeql0",
    ]


def test_undoing_lets_stay_what_was_there() -> None:
    for case in ("dataplane_died", "strict_filter_came_back"):
        assert undo(read_case(case).actions[0]) == ()


def test_json_names_every_value() -> None:
    shown = [action.to_json() for action in read_case("first_start").actions]
    assert [action["action"] for action in shown] == [
        "CreateBundle",
        "PrepareSlave",
        "SetFilter",
        "PrepareSlave",
        "ConfigureBundle",
        "SetUp",
        "SetMtu",
        "SetTrainLimit",
        "AddAddress",
        "AddRoute",
        "AddRoute",
    ]
    assert shown[0] == {
        "action": "CreateBundle",
        "bundle": "ipeql0",
        "backend": "tun",
        "revive": False,
    }
    configure: Any = shown[4]
    assert configure["before"] is None
    assert configure["after"]["slaves"][0]["bandwidth"] == 100_000_000
    assert shown[8]["address"] == "10.9.0.1/24"


@pytest.mark.parametrize(
    ("classes", "duplicate", "light"),
    [
        ([], 0, 0),
        ([((46, 0), "duplicate"), ((63,), "bw_lag_val")], 1 << 46 | 1, 1 << 63),
        ([((46,), "duplicate"), ((46, 34), "bw_lag_val")], 1 << 46, 1 << 34),
        ([((46,), "bw_lag_val"), ((46, 34), "duplicate")], 1 << 34, 1 << 46),
        ([((1,), "duplicate"), ((2,), "bw_lag_val"), ((3, 3, 2), "duplicate")], 0b1010, 0b100),
    ],
)
def test_a_dscp_belongs_to_the_first_class_that_has_it(
    classes: list[tuple[tuple[int, ...], str]], duplicate: int, light: int
) -> None:
    spec = BundleSpec("b0", "bw_load", classes=tuple(TrafficClass(*each) for each in classes))
    table = enslave(spec, [], NOTHING).table
    assert (table.duplicate_dscps, table.light_dscps) == (duplicate, light)


def test_classes_need_nothing_of_the_slaves() -> None:
    probe = ProbeSpec(ip_address("10.9.0.2"))
    classes = (TrafficClass((46,), "duplicate"), TrafficClass((34,), "bw_lag_val"))
    spec = BundleSpec("b0", "round_robin", (SlaveSpec("eth1"),), probe=probe, classes=classes)
    found = enslave(spec, members(DesiredState({"b0": spec}), {2: Link(2, "eth1")})["b0"], NOTHING)
    assert [row.bandwidth for row in found.table.slaves] == [0]
    assert not found.problems
    assert measured_bandwidth(spec, spec.slaves[0]) is None


def test_the_reason_for_the_choice_of_a_backend() -> None:
    spec = BundleSpec("ipeql0", "bw_lag_eq")
    bpf = Capabilities("bpf", True, frozenset({"bw_load"}), frozenset({"burst"}), rank=20)
    both = {"tun": ABLE, "bpf": bpf}
    assert choose_backend(spec, both) == (
        "tun",
        "the fastest that supports it; bpf does not support method bw_lag_eq",
    )
    assert choose_backend(BundleSpec("ipeql0", "bw_load", backend="tun"), both) == (
        "tun",
        "as configured",
    )
    able = {"tun": ABLE, "bpf": replace(bpf, methods=ABLE.methods)}
    assert choose_backend(spec, able, running="tun") == (
        "tun",
        "it is running; bpf is faster, and 'backend: bpf' selects it",
    )


def test_a_problem_knows_its_bundle() -> None:
    (problem,) = read_case("foreign_name").problems
    assert (problem.code, problem.bundle) == (Code.NAME_TAKEN, "ipeql0")


def test_the_queue_limit_looks_at_the_slaves_in_the_table_alone() -> None:
    fast = tuple(SlaveSpec(f"eth{i}", bandwidth=10**9, lag=0) for i in range(MAX_SLAVES))
    slow = SlaveSpec("ppp0", bandwidth=28800, lag=0)
    links = {i: Link(i, f"eth{i}") for i in range(MAX_SLAVES)}
    links[99] = Link(99, "ppp0", mtu=576)
    observed = ObservedState(links=links, capabilities={"tun": ABLE})
    limits = []
    for slaves in (fast, (*fast, slow)):
        spec = BundleSpec("ipeql0", "bw_lag_eq", slaves)
        present = members(DesiredState({"ipeql0": spec}), links)["ipeql0"]
        limits.append(enslave(spec, present, observed).table.parameters)
    assert limits[0] == limits[1] == ()


@pytest.mark.parametrize(
    ("lags", "given", "limit"),
    [
        ((5, 50), (), None),
        ((5, 105), (), 110),
        ((105, 5), (), 110),
        ((60, 60), (), 120),
        ((5, 600), (), None),
        ((5, 600), (("max_hold", 700 * MS),), 605),
        ((5, 105), (("max_hold", 50 * MS),), None),
        ((5, 105), (("queue_limit", 40 * MS),), 40),
    ],
)
def test_the_queue_limit_is_a_round_trip(
    lags: tuple[int, int], given: tuple[tuple[str, int], ...], limit: int | None
) -> None:
    slaves = tuple(
        SlaveSpec(f"eth{i}", bandwidth=10**9, lag=lag * MS) for i, lag in enumerate(lags)
    )
    links = {i: Link(i, f"eth{i}") for i in range(2)}
    spec = BundleSpec("ipeql0", "bw_lag_eq", slaves, parameters=given)
    present = members(DesiredState({"ipeql0": spec}), links)["ipeql0"]
    observed = ObservedState(links=links, capabilities={"tun": ABLE})
    parameters = dict(enslave(spec, present, observed).table.parameters)
    assert parameters.get("queue_limit") == (limit and limit * MS)


def test_a_measured_lag_is_not_in_the_table_and_leaves_the_queue_limit_alone() -> None:
    links = {i: Link(i, f"eth{i}") for i in range(3)}
    slaves = (
        SlaveSpec("eth0", bandwidth=10**9),
        SlaveSpec("eth1", bandwidth=10**9, lag=AUTO),
        SlaveSpec("eth2", bandwidth=10**9, lag=5 * MS),
    )
    probe = ProbeSpec(ip_address("10.9.0.2"))
    spec = BundleSpec("ipeql0", "bw_lag_eq", slaves, probe=probe)
    present = members(DesiredState({"ipeql0": spec}), links)["ipeql0"]
    observed = ObservedState(links=links, capabilities={"tun": ABLE})
    table = enslave(spec, present, observed).table
    assert [row.lag for row in table.slaves] == [0, 0, 5 * MS]
    assert dict(table.parameters) == {"queue_limit": 200 * MS}
    other = enslave(replace(spec, method="bw_load"), present, observed).table
    assert [row.lag for row in other.slaves] == [None, 0, 5 * MS]


def test_where_a_slave_is_used_when_full_the_bandwidth_of_the_others_is_measured() -> None:
    links = {i: Link(i, f"eth{i}") for i in range(3)}
    slaves = (
        SlaveSpec("eth0"),
        SlaveSpec("eth1", use="when-full"),
        SlaveSpec("eth2", use="when-down"),
    )
    spec = BundleSpec("ipeql0", "round_robin", slaves, probe=ProbeSpec(ip_address("10.9.0.2")))
    present = members(DesiredState({"ipeql0": spec}), links)["ipeql0"]
    table = enslave(spec, present, ObservedState(links=links)).table
    assert [measured_bandwidth(spec, slave) for slave in slaves] == [Measured(), None, None]
    assert [row.use for row in table.slaves] == ["always", "when-full", "when-down"]
    assert [row.bandwidth > 0 for row in table.slaves] == [True, False, False]
    without = replace(spec, slaves=(slaves[0], slaves[2]))
    assert measured_bandwidth(without, slaves[0]) is None


def test_while_a_file_cannot_be_used_nothing_of_its_bundles_is_touched() -> None:
    spec = BundleSpec("ipeql0", "round_robin", (SlaveSpec(match=LinkMatch("eth*")),))
    links = {
        1: Link(1, "eth1"),
        2: Link(2, "eth2"),
        9: Link(9, "ipeql1", altnames=("ipeql.bundle.ipeql1",)),
    }
    observed = ObservedState(
        links=links,
        bundles={"ipeql1": ObservedBundle("tun")},
        capabilities={"tun": ABLE},
        prepared=frozenset({("ipeql1", 2)}),
    )
    desired = DesiredState({"ipeql0": spec}, complete=False)
    lines = [str(action) for action in plan(desired, observed).actions]
    assert "+ configure ipeql0: round_robin over eth1" in lines
    assert not [line for line in lines if "ipeql1" in line or "eth2" in line]
    whole = [str(action) for action in plan(replace(desired, complete=True), observed).actions]
    assert whole[:2] == ["- destroy ipeql1 (tun)", "- free eth2 from ipeql1"]
    assert "+ configure ipeql0: round_robin over eth1, eth2" in whole
