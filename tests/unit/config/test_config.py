"""What a valid configuration means, which files are read, and the JSON Schema."""

import inspect
import os
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from ipeql.config import find_files, json_schema, load
from ipeql.config.schema.convert import METHOD_KEYS
from ipeql.config.schema.dscp import NUMBERS, in_mask, name_of, number_of
from ipeql.config.schema.model import Bundle
from ipeql.documents.configuration import configuration
from ipeql.errors import Code, ConfigError
from ipeql.methods import METHODS
from ipeql.plan.members import measured_bandwidth
from ipeql.state import (
    AUTO,
    DEVICE,
    BundleSpec,
    Endpoint,
    LinkMatch,
    Measured,
    ProbeSpec,
    RouteSpec,
    SlaveSpec,
    TrafficClass,
)
from ipeql.units import parse_time

EXAMPLE = Path(__file__).parents[3] / "etc" / "ipeql" / "example.yaml.disabled"

FULL = """\
version: 1
bundles:
  ipeql0:
    method: bw_poll
    count: packets
    backend: tun
    mtu: 1400
    stripe-unit: flowlet
    addresses: [10.9.0.1/24, "fd00:9::1/64"]
    routes:
      - {to: 192.168.40.0/24, via: 10.9.0.2, metric: 50}
      - {to: "2001:db8::/32", via: "fe80::2"}
      - {to: 10.10.0.0/16}
    min-slaves: 2
    poll-interval: 500ms
    overflow-after: 50ms
    classes:
      - {dscp: [EF, cs5, Voice-Admit, 35], method: duplicate}
      - {dscp: [34, le, default], method: bw_lag_val}
    slaves:
      - {name: eth1, bandwidth: 100Mbit, lag: 5ms, overhead: 38, via6: "fe80::1"}
      - {name: ppp0, bandwidth: 28.8kbit, lag: 120ms, via: 10.64.64.64, up: false,
         use: when-full}
      - {match: {name: "wwan*", mac: "02:00:5E:10:00:01", driver: cdc_mbim}, bandwidth: device,
         use: when-down}
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def bundle(name: str = "ipeql0", method: str = "round_robin", more: str = "") -> str:
    slave = f"{{name: {name}s, bandwidth: 1Mbit, lag: 1ms}}"
    return f"version: 1\nbundles:\n  {name}: {{method: {method}, slaves: [{slave}]{more}}}\n"


@pytest.mark.parametrize(
    ("addresses", "routes", "expected"),
    [
        ("10.9.0.1/24", "{to: default}", ["0.0.0.0/0"]),
        ("10.9.0.1/24, 'fd00:9::1/64'", "{to: default, metric: 50}", ["0.0.0.0/0", "::/0"]),
        ("10.9.0.1/24, 'fd00:9::1/64'", "{to: default, via: 'fd00:9::2'}", ["::/0"]),
        ("", "{to: default}", ["0.0.0.0/0", "::/0"]),
        ("10.9.0.1/24", "{to: '::/0'}, {to: default}", ["::/0", "0.0.0.0/0"]),
    ],
)
def test_a_default_route_is_of_the_families_that_it_can_be_of(
    tmp_path: Path, addresses: str, routes: str, expected: list[str]
) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(
        "version: 1\nbundles:\n  ipeql0:\n    method: round_robin\n    slaves: [{name: eth1}]\n"
        f"    addresses: [{addresses}]\n    routes: [{routes}]\n"
    )
    found = load([file]).bundles["ipeql0"].routes
    assert [str(route.to) for route in found] == expected
    assert {route.metric for route in found} == {50 if "metric" in routes else None}


def test_every_key_reaches_the_state(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", FULL)

    state = load([path])

    assert state.bundles == {
        "ipeql0": BundleSpec(
            name="ipeql0",
            method="bw_poll",
            parameters=(("count", "packets"),),
            backend="tun",
            mtu=1400,
            stripe_unit="flowlet",
            addresses=(ip_interface("10.9.0.1/24"), ip_interface("fd00:9::1/64")),
            routes=(
                RouteSpec(ip_network("192.168.40.0/24"), ip_address("10.9.0.2"), 50),
                RouteSpec(ip_network("2001:db8::/32"), ip_address("fe80::2")),
                RouteSpec(ip_network("10.10.0.0/16")),
            ),
            min_slaves=2,
            poll_interval=500_000_000,
            overflow_after=50_000_000,
            classes=(
                TrafficClass((46, 40, 44, 35), "duplicate"),
                TrafficClass((34, 1, 0), "bw_lag_val"),
            ),
            slaves=(
                SlaveSpec(
                    "eth1",
                    bandwidth=100_000_000,
                    lag=5_000_000,
                    overhead=38,
                    via6=IPv6Address("fe80::1"),
                ),
                SlaveSpec(
                    "ppp0",
                    bandwidth=28_800,
                    lag=120_000_000,
                    via=IPv4Address("10.64.64.64"),
                    use="when-full",
                    up=False,
                ),
                SlaveSpec(
                    match=LinkMatch("wwan*", "02:00:5e:10:00:01", "cdc_mbim"),
                    bandwidth=DEVICE,
                    use="when-down",
                ),
            ),
        )
    }
    ipeql0 = state.bundles["ipeql0"]
    assert str(ipeql0.mark) == f"{path}:3:3"
    assert [str(slave.mark) for slave in ipeql0.slaves] == [
        f"{path}:{line}:9" for line in (21, 22, 24)
    ]


PROBED = """\
version: 1
bundles:
  ipeql0:
    method: bw_lag_eq
    addresses: [10.9.0.1/24, "fd00:9::1/64"]
    probe: {to: 10.9.0.2, port: 8621, key-file: /etc/ipeql/bundle.key}
    reflect: [10.9.0.0/24, "fd00:9::/64"]
    slaves:
      - {name: eth1}
      - {name: eth2, bandwidth: {auto: true, max: 80Mbit}, lag: auto}
      - {name: eth3, bandwidth: 1Mbit, lag: 5ms, probe: {to: "fd00:9::2", by: stamp, port: 8620,
         interval: 200ms, key-file: /etc/ipeql/probe.key}}
      - {name: eth5, bandwidth: 1Mbit, probe: {interval: 200ms}}
      - {name: eth6, bandwidth: 1Mbit, probe: {by: auto, port: 862}}
  ipeql1: {method: round_robin, reflect: true, slaves: [{name: eth4}]}
"""


def test_probes_reach_the_state(tmp_path: Path) -> None:
    bundles = load([write(tmp_path / "a.yaml", PROBED)]).bundles
    spec, other = bundles["ipeql0"], bundles["ipeql1"]
    probe = ProbeSpec(ip_address("10.9.0.2"), port=8621, key_file="/etc/ipeql/bundle.key")
    assert spec.probe == probe
    assert [spec.probe_of(slave) for slave in spec.slaves] == [
        probe,
        probe,
        ProbeSpec(ip_address("fd00:9::2"), "stamp", 8620, 200 * 10**6, "/etc/ipeql/probe.key"),
        replace(probe, interval=200 * 10**6),
        replace(probe, port=862),
    ]
    assert [slave.lag for slave in spec.slaves] == [None, AUTO, 5 * 10**6, None, None]
    assert [slave.bandwidth for slave in spec.slaves[:3]] == [
        None,
        Measured(most=80 * 10**6),
        10**6,
    ]
    assert spec.reflect == (ip_network("10.9.0.0/24"), ip_network("fd00:9::/64"))
    assert (other.probe, other.reflect) == (None, True)


def test_what_show_says_of_probes_is_what_was_read(tmp_path: Path) -> None:
    bundles = load([write(tmp_path / "a.yaml", PROBED)]).bundles
    again = {name: configuration(spec)["configuration"] for name, spec in bundles.items()}
    text = yaml.safe_dump({"version": 1, "bundles": again})
    for name, spec in load([write(tmp_path / "a.yaml", text)]).bundles.items():
        assert configuration(spec)["configuration"] == again[name]
        assert [measured_bandwidth(spec, slave) for slave in spec.slaves] == [
            measured_bandwidth(bundles[name], slave) for slave in bundles[name].slaves
        ]


def test_defaults(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", bundle())

    slaves = (SlaveSpec("ipeql0s", bandwidth=1_000_000, lag=1_000_000),)
    assert load([path]).bundles["ipeql0"] == BundleSpec("ipeql0", "round_robin", slaves)


def test_times_of_a_method_are_nanoseconds(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", bundle("b", "bw_lag_eq", ", queue-limit: 60ms, max-hold: 1s"))

    parameters = load([path]).bundles["b"].parameters

    assert parameters == (("max_hold", 10**9), ("queue_limit", 60 * 10**6))


@pytest.mark.parametrize(
    "text", ["", "\n", "# nothing yet\n", "---\n", "version: 1\n", "version: 1\nbundles: {}\n"]
)
def test_a_file_may_define_nothing(text: str, tmp_path: Path) -> None:
    assert load([write(tmp_path / "a.yaml", text)]).bundles == {}


@pytest.mark.parametrize("text", [FULL.replace("\n", "\r\n"), "\ufeff" + FULL, "---\n" + FULL])
def test_the_ways_of_editors_are_accepted(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(text.encode())

    assert load([path]) == load([write(tmp_path / "b.yaml", FULL)])


def test_bundles_of_all_files_are_put_together(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{name}.yaml", bundle(name)) for name in ("b", "a")]

    assert list(load(paths).bundles) == ["b", "a"]


@pytest.mark.parametrize("method", METHODS)
def test_loader_and_method_agree_on_needs_and_parameters(method: str, tmp_path: Path) -> None:
    values = {
        "count": "packets",
        "packets-per-slave": "2",
        "copies": "3",
        "queue-limit": "50ms",
        "max-hold": "200ms",
    }
    assert values.keys() == {name.replace("_", "-") for name in METHOD_KEYS}
    for need in ("bandwidth", "lag"):
        given = {"bandwidth": "1Mbit", "lag": "1ms"}
        given.pop(need)
        slave = "".join(f", {key}: {value}" for key, value in given.items())
        text = f"version: 1\nbundles: {{b: {{method: {method}, slaves: [{{name: a{slave}}}]}}}}\n"
        refused = refuses(write(tmp_path / "a.yaml", text), Code.METHOD_NEEDS)
        assert refused == (need in METHODS[method].needs)
    for key, value in values.items():
        path = write(tmp_path / "a.yaml", bundle(method=method, more=f", {key}: {value}"))
        known = key.replace("-", "_") in METHODS[method].parameters
        assert refuses(path, Code.UNKNOWN_KEY) == (not known)


def refuses(path: Path, code: Code) -> bool:
    try:
        load([path])
    except ConfigError as error:
        assert [problem.code for problem in error.problems] == [code]
        return True
    return False


@pytest.mark.parametrize("name", sorted(METHOD_KEYS))
def test_defaults_of_parameters_are_the_methods_own(name: str) -> None:
    default = Bundle.model_fields[name].default
    if name in ("queue_limit", "max_hold"):
        default = parse_time(default)
    for method in METHODS.values():
        if name in method.parameters:
            assert inspect.signature(method).parameters[name].default == default


def test_what_show_says_of_classes_is_what_was_read(tmp_path: Path) -> None:
    spec = load([write(tmp_path / "a.yaml", FULL)]).bundles["ipeql0"]
    shown = configuration(spec)["configuration"]
    assert shown["classes"] == [
        {"dscp": ["ef", "cs5", "va", 35], "method": "duplicate"},
        {"dscp": ["af41", "le", "cs0"], "method": "bw_lag_val"},
    ]
    text = yaml.safe_dump({"version": 1, "bundles": {"ipeql0": shown}})
    assert load([write(tmp_path / "b.yaml", text)]).bundles["ipeql0"].classes == spec.classes


def test_every_dscp_has_one_name_and_every_name_its_dscp() -> None:
    assert [number_of(name_of(number)) for number in range(64)] == list(range(64))
    assert [number_of(name.upper()) for name in NUMBERS] == list(NUMBERS.values())
    known = {"cs7": 56, "af11": 10, "af23": 22, "af43": 38, "ef": 46, "va": 44, "le": 1, "df": 0}
    assert NUMBERS.items() >= known.items()
    assert in_mask(1 << 63 | 1 << 46 | 1) == [0, 46, 63]


def test_shipped_example_loads_once_renamed(tmp_path: Path) -> None:
    assert find_files([EXAMPLE.parent]) == []
    assert load([write(tmp_path / "example.yaml", EXAMPLE.read_text())]).bundles


class TestSearchPath:
    def test_first_directory_wins_and_names_are_sorted(self, tmp_path: Path) -> None:
        etc, run, usr = self.directories(tmp_path)
        for directory, names in ((etc, "bz"), (run, "ab"), (usr, "abc")):
            for name in names:
                write(directory / f"{name}.yaml", bundle(name))

        expected = [run / "a.yaml", etc / "b.yaml", usr / "c.yaml", etc / "z.yaml"]
        assert find_files([etc, run, usr]) == expected

    @pytest.mark.parametrize("masked_by", ["empty", "null"])
    def test_empty_file_or_null_link_masks(self, masked_by: str, tmp_path: Path) -> None:
        etc, _, usr = self.directories(tmp_path)
        write(usr / "a.yaml", bundle())
        mask = etc / "a.yaml"
        mask.touch() if masked_by == "empty" else mask.symlink_to(os.devnull)

        assert find_files([etc, usr]) == []

    def test_other_files_and_absent_directories_are_passed_over(self, tmp_path: Path) -> None:
        for name in ("a.yml", ".a.yaml", "a.yaml~", "a.yaml.disabled"):
            write(tmp_path / name, bundle())

        assert find_files([tmp_path, tmp_path / "absent"]) == []

    def test_what_cannot_be_listed_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="IPQ-C001"):
            find_files([write(tmp_path / "file", "")])

    def test_broken_files_are_found_so_that_they_are_reported(self, tmp_path: Path) -> None:
        (tmp_path / "dangling.yaml").symlink_to("gone")
        (tmp_path / "directory.yaml").mkdir()

        assert len(find_files([tmp_path])) == 2

    @staticmethod
    def directories(parent: Path) -> list[Path]:
        paths = [parent / name for name in ("etc", "run", "usr")]
        for path in paths:
            path.mkdir()
        return paths


class TestSchema:
    schema = json_schema()

    def test_is_a_schema(self) -> None:
        Draft202012Validator.check_schema(self.schema)

    @pytest.mark.parametrize("text", [FULL, EXAMPLE.read_text(), bundle()])
    def test_accepts_what_the_loader_accepts(self, text: str) -> None:
        Draft202012Validator(self.schema).validate(yaml.safe_load(text))

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("count:", "cuont:"),
            ("bw_poll", "bw_pol"),
            ("mtu: 1400", "mtu: 100"),
            ("mtu: 1400", "mtu: big"),
            ("100Mbit", "100mbps"),
            ("lag: 5ms", "lag: 5"),
            ("name: eth1", "name: a-very-long-name"),
            ("up: false", "up: maybe"),
            ("when-full", "full"),
            ("flowlet", "flows"),
            ("overflow-after: 50ms", "overflow-after: 50"),
            ("version: 1", "version: 2"),
            ("EF", "EFF"),
            ("34,", "64,"),
            ("[34, le, default]", "[]"),
            ("[34, le, default]", "le"),
            ("method: duplicate", "method: bw_load"),
            ("dscp: [34", "dscps: [34"),
            ("to: 10.10.0.0/16", "metric: 5"),
            ("lag: 5ms", "lag: null"),
            ('match: {name: "wwan*", mac: "02:00:5E:10:00:01", driver: cdc_mbim}', "match: null"),
        ],
    )
    def test_refuses_what_an_editor_should_underline(self, old: str, new: str) -> None:
        data: Any = yaml.safe_load(FULL.replace(old, new))
        assert not Draft202012Validator(self.schema).is_valid(data)


@pytest.mark.parametrize("text", ["[::1]:9817", "127.0.0.1:9817", "[::]:1", "0.0.0.0:65535"])
def test_metrics_stand_in_any_one_file(text: str, tmp_path: Path) -> None:
    files = (tmp_path / "a.yaml", tmp_path / "b.yaml", tmp_path / "c.yaml")
    for file in files:
        file.write_text("version: 1\n")
    assert load(files).metrics is None
    written = {"version": 1, "metrics": {"listen": text}}
    files[1].write_text(yaml.safe_dump(written))
    Draft202012Validator(json_schema()).validate(written)
    found = load(files).metrics
    host, _, port = text.rpartition(":")
    assert found == Endpoint(ip_address(host.strip("[]")), int(port))
    assert str(found) == text
    assert found.mark and found.mark.file == str(files[1])
