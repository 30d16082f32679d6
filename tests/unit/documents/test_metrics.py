"""The metrics of a status document: what others read in them, against tests/golden/cli.

UPDATE_GOLDEN=1 writes the file anew.
"""

import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipeql.documents.metrics import families
from ipeql.documents.openmetrics import OPENMETRICS, TEXT, exposition

GOLDEN = Path(__file__).parents[2] / "golden" / "cli"
STATUS: dict[str, Any] = json.loads((GOLDEN / "status.json").read_text()) | {
    "version": "0.1.0",
    "last_reload_s": 1.5e9,
    "last_reload_successful": False,
    "changed_files": ["/etc/ipeql/a.yaml"],
}

Read = Iterator[tuple[str, dict[str, str], float]]


def text(status: dict[str, Any], content_type: str = TEXT) -> str:
    return exposition(families(status), content_type).decode()


def read(status: dict[str, Any], content_type: str) -> Read:
    """Yield name, labels and value of every sample, as prometheus-client reads them."""
    pytest.importorskip("prometheus_client", reason="needs prometheus-client")
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
    from prometheus_client.parser import text_string_to_metric_families as plain

    parse = openmetrics if content_type == OPENMETRICS else plain
    for family in parse(text(status, content_type)):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value


def bundle(*slaves: dict[str, Any], name: str = "ipeql0") -> dict[str, Any]:
    known = deepcopy(STATUS["bundles"][0])
    made: dict[str, Any] = {"name": name, "slaves": [known["slaves"][0] | each for each in slaves]}
    return {**known, **made}


def status_of(*bundles: dict[str, Any]) -> dict[str, Any]:
    return STATUS | {"bundles": list(bundles)}


def test_a_daemon_of_an_older_version_has_metrics_too() -> None:
    slave = {name: value for name, value in bundle({})["slaves"][0].items() if name != "counted"}
    older = STATUS | {"bundles": [STATUS["bundles"][0] | {"slaves": [slave]}]}
    assert "ipeql_slave_sent_packets_total{" in text(older)


def test_every_metric_with_its_help() -> None:
    path = GOLDEN / "metrics.txt"
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.write_text(text(STATUS))
    assert text(STATUS) == path.read_text()


def test_promtool_finds_nothing_against_them() -> None:
    if not shutil.which("promtool"):
        pytest.skip("needs promtool: apt install prometheus")
    command = ("promtool", "check", "metrics")
    done = subprocess.run(
        command, input=text(STATUS), capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_both_formats_say_the_same() -> None:
    openmetrics, plain = ([*read(STATUS, each)] for each in (OPENMETRICS, TEXT))
    assert openmetrics == plain
    assert text(STATUS, OPENMETRICS).endswith("\n# EOF\n")
    assert "# TYPE ipeql_slave_state stateset\n" in text(STATUS, OPENMETRICS)
    assert "# UNIT ipeql_path_round_trip_seconds seconds\n" in text(STATUS, OPENMETRICS)


def test_an_object_is_in_one_state() -> None:
    for family in ("ipeql_bundle_state", "ipeql_slave_state", "ipeql_path_standing"):
        sums = Counter[tuple[str, str]]()
        for name, labels, value in read(STATUS, OPENMETRICS):
            if name == family:
                sums[labels["bundle"], labels.get("slave", "")] += int(value)
        assert set(sums.values()) == {1}


def test_a_slave_that_is_not_counted_has_no_counter() -> None:
    """A 0 would look as if all had begun anew, and the next value as if all came at once."""
    status = status_of(bundle({"name": "eth1"}, {"name": "eth2", "counted": False}))
    counters = [
        labels["slave"]
        for name, labels, _ in read(status, OPENMETRICS)
        if name.startswith("ipeql_slave_") and name.endswith("_total")
    ]
    assert set(counters) == {"eth1"}


def test_a_reason_is_counted_before_the_first_drop() -> None:
    status = status_of(bundle({"dropped": {}}) | {"dropped": {"no_neighbour": 4}})
    drops = {
        (name.split("_")[1], labels["reason"]): value
        for name, labels, value in read(status, TEXT)
        if "dropped" in name
    }
    assert drops == {
        ("bundle", "no_slave"): 0,
        ("bundle", "queue_full"): 0,
        ("bundle", "no_neighbour"): 4,
        ("slave", "queue_full"): 0,
    }


def test_slaves_of_the_same_label_are_shown_once_and_the_present_one_first() -> None:
    twice = {"label": "wwan*", "name": "", "ifindex": 0, "state": "absent", "counted": False}
    status = status_of(bundle(twice, twice, {"label": "wwan*", "name": "wwan*", "packets": 7}))
    sent = [value for name, _, value in read(status, TEXT) if name.endswith("sent_packets_total")]
    assert sent == [7]
    samples = Counter((name, *sorted(labels.items())) for name, labels, _ in read(status, TEXT))
    assert set(samples.values()) == {1}


def test_without_a_daemon_nothing_is_said_of_its_configuration() -> None:
    names = {name for name, _, _ in read(STATUS | {"daemon": False}, TEXT)}
    assert not [name for name in names if name.startswith("ipeql_configuration_")]
    assert "ipeql_slave_state" in names


@given(st.text(min_size=1), st.text(min_size=1))
def test_any_name_is_read_as_it_was_written(name: str, slave: str) -> None:
    status = status_of(bundle({"name": slave}, name=name))
    for content_type in (OPENMETRICS, TEXT):
        for sample, labels, _ in read(status, content_type):
            if sample == "ipeql_slave_sent_packets_total":
                assert labels == {"bundle": name, "slave": slave}


def test_half_a_character_is_no_reason_to_fail() -> None:
    assert 'slave="?"' in text(status_of(bundle({"name": "\udc80"})))
