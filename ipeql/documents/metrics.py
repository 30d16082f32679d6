"""The metrics, made of the status document: which there are, and what each of them means.

Names are those of https://prometheus.io/docs/practices/naming/, in base units; a name keeps its
meaning. A slave is called as its link or, while that is absent, by its label. What is not known has
no sample: a 0 in its place would look like a counter that begins anew.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ipeql import __version__
from ipeql.documents.openmetrics import Family, Kind, labels
from ipeql.health.carrier import ADMIN_DOWN, HELD_OFF, NO_CARRIER
from ipeql.health.path import PATH_DOWN
from ipeql.health.uplink import NO_UPLINK
from ipeql.state import Standing

BUNDLE_STATES = ("ready", "degraded", "down", "failed")
SLAVE_STATES = (
    "active",
    "pending",
    HELD_OFF,
    NO_CARRIER.reason,
    ADMIN_DOWN.reason,
    PATH_DOWN,
    NO_UPLINK,
    "loop",
    "left-out",
    "absent",
)
STANDINGS = tuple(standing.value for standing in Standing)

BUNDLE_DROPS = {"no_slave": 0, "queue_full": 0}
SLAVE_DROPS = {"queue_full": 0}
"""Reasons that are shown from the beginning: a rate needs the 0 before the first drop."""

_Document = Mapping[str, Any]
_Labelled = Sequence[tuple[str, _Document]]
_Value = Callable[[_Document], float | None]


def families(status: _Document) -> Iterator[Family]:
    """Yield the metrics of an ``ipeql-status/1`` document, each with at least one sample. Pure."""
    bundles = [(labels(bundle=bundle["name"]), bundle) for bundle in status["bundles"]]
    slaves = [each for bundle in status["bundles"] for each in _slaves(bundle)]
    counted = [(label, slave) for label, slave in slaves if slave.get("counted", True)]
    paths = [(label, slave["path"]) for label, slave in slaves if slave["path"]]
    for family in (
        *_daemon(status),
        *_bundles(bundles),
        _states("ipeql_slave_state", "State of the slave", slaves, SLAVE_STATES, "state"),
        *(_numbers(name, Kind.COUNTER, help, counted, value) for name, help, value in _COUNTERS),
        _dropped("ipeql_slave_dropped_packets", "Packets the slave lost", counted, SLAVE_DROPS),
        *(_numbers(name, Kind.GAUGE, help, counted, value) for name, help, value in _QUEUES),
        *(_numbers(name, Kind.GAUGE, help, slaves, value) for name, help, value in _SLAVES),
        _states("ipeql_path_standing", "Standing of the path", paths, STANDINGS, "standing"),
        *(_numbers(name, Kind.GAUGE, help, paths, value) for name, help, value in _PATHS),
    ):
        if family.samples:
            yield family


def _slaves(bundle: _Document) -> Iterator[tuple[str, _Document]]:
    """Yield each slave once; two absent ones may have the same label, or that of a present one."""
    present_first = sorted(bundle["slaves"], key=lambda slave: not slave["ifindex"])
    named: dict[str, _Document] = {}
    for slave in present_first:
        named.setdefault(slave["name"] or slave["label"], slave)
    for name, slave in named.items():
        yield labels(bundle=bundle["name"], slave=name), slave


def _daemon(status: _Document) -> Iterator[Family]:
    yield _one(
        "ipeql_build",
        "Version of IPEQL",
        1,
        Kind.INFO,
        labels(version=status.get("version", __version__)),
    )
    yield _one("ipeql_daemon_running", "1 while ipeqld runs", status["daemon"])
    if not status["daemon"]:
        return
    configuration = "ipeql_configuration_"
    yield _one(
        f"{configuration}generation",
        "Configurations that ipeqld has accepted since its start",
        status["generation"],
    )
    yield _one(
        f"{configuration}changed_files",
        "Files of the configuration that are newer than what is in force",
        len(status["changed_files"]),
    )
    yield _one(
        f"{configuration}last_reload_successful",
        "1 where all files were accepted when they were read last",
        status.get("last_reload_successful"),
    )
    yield _one(
        f"{configuration}last_reload_timestamp_seconds",
        "When the files were read last",
        status.get("last_reload_s"),
    )


def _bundles(bundles: _Labelled) -> Iterator[Family]:
    yield Family(
        "ipeql_bundle",
        Kind.INFO,
        "Method and dataplane of the bundle",
        [
            (f"{label},{labels(method=bundle['method'], backend=bundle['backend'] or '')}", 1)
            for label, bundle in bundles
        ],
    )
    yield _states("ipeql_bundle_state", "State of the bundle", bundles, BUNDLE_STATES, "state")
    for name, help, key in (
        ("ipeql_bundle_usable_slaves", "Slaves that are usable", "usable_slaves"),
        ("ipeql_bundle_min_slaves", "With fewer usable slaves it is degraded", "min_slaves"),
    ):
        yield _numbers(name, Kind.GAUGE, help, bundles, _of(key))
    counted = [
        (label, bundle)
        for label, bundle in bundles
        if any(slave.get("counted", True) for slave in bundle["slaves"])
    ]
    yield _dropped(
        "ipeql_bundle_dropped_packets", "Packets that no slave got", counted, BUNDLE_DROPS
    )


def _one(
    name: str, help: str, value: float | None, kind: Kind = Kind.GAUGE, labelled: str = ""
) -> Family:
    return Family(name, kind, help, [] if value is None else [(labelled, float(value))])


def _numbers(name: str, kind: Kind, help: str, objects: _Labelled, value: _Value) -> Family:
    found = ((label, value(each)) for label, each in objects)
    samples = [(label, number) for label, number in found if number is not None]
    return Family(name, kind, help, samples)


def _dropped(name: str, help: str, objects: _Labelled, never_yet: dict[str, int]) -> Family:
    samples = [
        (f"{label},{labels(reason=reason)}", count)
        for label, each in objects
        for reason, count in (never_yet | each["dropped"]).items()
    ]
    return Family(name, Kind.COUNTER, f"{help}, by reason", samples)


def _states(name: str, help: str, objects: _Labelled, states: tuple[str, ...], key: str) -> Family:
    """Return the state set: 1 at the state that is, 0 at the others."""
    endings = {state: f",{labels(**{name: state})}" for state in states}
    samples = [
        (label + ending, int(state == each[key]))
        for label, each in objects
        for state, ending in endings.items()
    ]
    return Family(name, Kind.STATESET, help, samples)


def _of(key: str, divisor: int = 1) -> _Value:
    def value(document: _Document) -> float | None:
        number: int | None = document[key]
        return number if number is None or divisor == 1 else number / divisor

    return value


def _bandwidth(slave: _Document) -> float | None:
    return slave["bandwidth_bps"] / 8 if slave["bandwidth_bps"] else None


_NS = 10**9
_BITS = 8

_COUNTERS = (
    ("ipeql_slave_sent_packets", "Packets sent", _of("packets")),
    ("ipeql_slave_sent_bytes", "Bytes sent", _of("bytes")),
    (
        "ipeql_slave_received_packets",
        "Packets of the bundle that arrived on the slave",
        _of("received_packets"),
    ),
    (
        "ipeql_slave_received_bytes",
        "Bytes of the bundle that arrived on the slave",
        _of("received_bytes"),
    ),
)
_QUEUES = (
    ("ipeql_slave_queued_packets", "Packets that wait in the dataplane", _of("queued_packets")),
    ("ipeql_slave_queued_bytes", "Bytes that wait in the dataplane", _of("queued_bytes")),
)
_SLAVES = (
    (
        "ipeql_slave_bandwidth_bytes_per_second",
        "Bandwidth that the slave is used with, configured or measured",
        _bandwidth,
    ),
    (
        "ipeql_slave_lag_seconds",
        "One-way delay; where it is measured, that beyond the fastest path of the bundle",
        _of("lag_ns", _NS),
    ),
)
_PATHS = (
    (
        "ipeql_path_round_trip_seconds",
        "Time from a probe to its answer",
        _of("round_trip_ns", _NS),
    ),
    (
        "ipeql_path_loss_ratio",
        "Share of the probes of the last ten seconds that had no answer",
        _of("loss"),
    ),
    (
        "ipeql_path_recent_suspensions",
        "Times that the path was suspended in the last hour",
        _of("suspensions"),
    ),
    ("ipeql_path_queue_seconds", "Time that packets wait in the path", _of("queue_ns", _NS)),
    (
        "ipeql_path_delivered_bytes_per_second",
        "What arrived at the far end of late",
        _of("delivered_bps", _BITS),
    ),
)
