"""What the prober is to do: from configuration and state, and on its way through the channel."""

import json
from ipaddress import ip_address, ip_interface, ip_network

from ipeql.errors import Code, Problem
from ipeql.probe.channel import task, wire
from ipeql.probe.channel.tasks import tasks
from ipeql.state import (
    AUTO,
    BundleSpec,
    BundleTable,
    DesiredState,
    Learning,
    Link,
    Measured,
    ObservedBundle,
    ObservedState,
    PathReport,
    ProbeKeys,
    ProbeSpec,
    Rung,
    SlaveRow,
    SlaveSpec,
    Standing,
)

FAR = ip_address("10.9.0.2")
OTHER = ip_address("fd00:9::7")
ADDRESSES = tuple(map(ip_interface, ("192.168.7.1/24", "10.9.0.1/24", "fd00:9::1/64")))
SLAVES = (
    SlaveSpec(name="eth1", bandwidth=10**8, lag=AUTO, via=ip_address("10.1.0.1")),  # type: ignore
    SlaveSpec(name="eth2", bandwidth=10**7, lag=5 * 10**6, probe=ProbeKeys(OTHER, port=8620)),
)
LINKS = {each.ifindex: each for each in (Link(1, "eth1", mac="02:00:00:00:00:01"), Link(2, "eth2"))}
TABLE = BundleTable(
    "bw_lag_eq", slaves=(SlaveRow(1, "eth1", bandwidth=10**8), SlaveRow(2, "eth2", 10**7))
)


def made(spec: BundleSpec, table: BundleTable | None = TABLE) -> tuple[task.BundleTask, ...]:
    running = {spec.name: ObservedBundle("tun", table)}
    return tasks(DesiredState({spec.name: spec}), ObservedState(links=LINKS, bundles=running))


def spec(**more: object) -> BundleSpec:
    return BundleSpec("ipeql0", "bw_lag_eq", SLAVES, addresses=ADDRESSES, **more)  # type: ignore


def test_a_bundle_with_a_probe_probes_and_answers() -> None:
    (found,) = made(spec(probe=ProbeSpec(FAR)))
    assert found.own_address(FAR) == ip_address("10.9.0.1")
    assert found.own_address(OTHER) == ip_address("fd00:9::1")
    assert found.ports == (862, 8620)
    assert found.allowed[:2] == (ip_network("10.9.0.2/32"), ip_network("fd00:9::7/128"))
    assert ip_network("10.9.0.0/24") in found.allowed
    one, other = found.slaves
    assert (one.probe, one.lag, one.measures_lag) == (ProbeSpec(FAR), None, True)
    assert (one.measured, other.measured) == (None, None)
    assert (other.probe, other.lag, other.measures_lag) == (
        ProbeSpec(OTHER, port=8620),
        5 * 10**6,
        False,
    )


def test_what_is_not_configured_is_measured() -> None:
    slaves = (SlaveSpec(name="eth1"), SlaveSpec(name="eth2", bandwidth=Measured(10**6, 10**7)))
    wanted = BundleSpec(
        "ipeql0",
        "bw_lag_eq",
        slaves,
        addresses=ADDRESSES,
        probe=ProbeSpec(FAR),
    )
    found = made(wanted)
    assert [(each.measured, each.measures_lag) for each in found[0].slaves] == [
        (Measured(), True),
        (Measured(10**6, 10**7), True),
    ]
    assert not found[0].late
    running = {"ipeql0": ObservedBundle("tun", TABLE, binds_late=True)}
    state = ObservedState(links=LINKS, bundles=running)
    assert tasks(DesiredState({"ipeql0": wanted}), state)[0].late
    sent = json.loads(json.dumps(task.to_json(found), default=str))
    assert list(map(task.from_json, sent)) == list(found)


def test_who_is_answered_can_be_said() -> None:
    networks = (ip_network("192.0.2.0/24"),)
    (found,) = made(spec(probe=ProbeSpec(FAR), reflect=networks))
    assert found.allowed == (
        ip_network("10.9.0.2/32"),
        ip_network("fd00:9::7/128"),
        ip_network("192.0.2.0/24"),
    )
    (found,) = made(spec(probe=ProbeSpec(FAR), reflect=False))
    assert (found.ports, found.allowed) == ((), ())


def test_a_bundle_without_a_probe_has_nothing_to_do_unless_it_reflects() -> None:
    plain = BundleSpec("ipeql0", "round_robin", (SlaveSpec(name="eth1"),), addresses=ADDRESSES)
    assert made(plain) == ()
    (found,) = made(BundleSpec("ipeql0", "round_robin", plain.slaves, reflect=True))
    assert found.ports == (862,)


def test_a_bundle_that_does_not_run_has_nothing_to_do() -> None:
    assert made(spec(probe=ProbeSpec(FAR)), table=None) == ()


def test_tasks_are_the_same_at_the_other_end_of_the_channel() -> None:
    found = made(spec(probe=ProbeSpec(FAR, key_file="/etc/key", interval=10**8)))
    line = wire.line({"tasks": task.to_json(found)})
    assert tuple(map(task.from_json, json.loads(line)["tasks"])) == found


def test_reports_are_the_same_at_the_other_end_of_the_channel() -> None:
    reports = {
        ("ipeql0", 3): PathReport(Standing.DOWN, 17, "silent", Rung.ICMP, 5, 6, True, 0.25, 9),
        ("ipeql0", 5): PathReport(Standing.UP, learning=Learning.TRACK, delivered=7),
        ("ipeql1", 4): PathReport(),
    }
    problems = (Problem(Code.NO_KEY, "ipeql0: no key", "write it", bundle="ipeql0"),)
    message = json.loads(wire.reported(reports, problems))
    assert wire.reports(message) == reports
    assert wire.problems(message) == problems
