"""Changes over what the files say: transient ones, and those a file has."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipeql.config import Layers, load, parse_change
from ipeql.config.changes.change import in_words, to_data
from ipeql.config.changes.overlay import Located, changed, overlay, revised
from ipeql.config.changes.saved import save
from ipeql.config.rules.bundle import check
from ipeql.config.schema.model import Change
from ipeql.errors import Code, ConfigError, IpeqlError, NotFoundError
from ipeql.methods import METHODS, USES
from ipeql.state import DEVICE, BundleSpec, DesiredState, SlaveSpec

FILES = """\
version: 1
bundles:
  ipeql0:
    method: bw_load
    slaves:
      - {name: eth1, bandwidth: 100Mbit}
      - {name: ppp0, bandwidth: 28.8kbit, lag: 120ms}
      - {match: {name: "wwan*"}, bandwidth: 20Mbit}
  ipeql1:
    method: round_robin
    min-slaves: 2
    slaves: [{name: eth2}, {name: eth3}]
"""

FREE_ETH1 = {"bundle": "ipeql0", "free": "eth1"}
ENSLAVE_ETH5 = {"bundle": "ipeql0", "enslave": {"name": "eth5", "bandwidth": "1Mbit"}}


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    directory = tmp_path / "etc"
    directory.mkdir()
    (directory / "a.yaml").write_text(FILES)
    return directory


@pytest.fixture
def layers(etc: Path) -> Layers:
    return started(etc)


def started(etc: Path) -> Layers:
    """Return the layers as a daemon has them that starts now."""
    layers = Layers([etc], etc.parent)
    layers.load()
    return layers


def change(layers: Layers, data: object) -> BundleSpec:
    parsed = parse_change(data)
    layers.change(parsed)
    return layers.desired.bundles[parsed.bundle]


def slaves(layers: Layers, bundle: str = "ipeql0") -> list[str]:
    return [slave.label for slave in layers.desired.bundles[bundle].slaves]


def test_each_change_does_what_it_says(layers: Layers) -> None:
    assert change(layers, ENSLAVE_ETH5).slaves[-1].bandwidth == 10**6
    assert slaves(layers) == ["eth1", "ppp0", "wwan*", "eth5"]
    change(layers, {"bundle": "ipeql0", "free": "wwan*"})
    assert slaves(layers) == ["eth1", "ppp0", "eth5"]
    settings = {"method": "round_robin", "packets-per-slave": 3, "mtu": 1400, "min-slaves": 2}
    spec = change(layers, {"bundle": "ipeql0", "set": settings})
    assert (spec.method, spec.parameters) == ("round_robin", (("packets_per_slave", 3),))
    assert (spec.mtu, spec.min_slaves) == (1400, 2)
    set_slave = {"name": "ppp0", "bandwidth": "device", "via": "10.0.0.1", "up": False}
    slave = change(layers, {"bundle": "ipeql0", "set-slave": set_slave}).slaves[1]
    assert (slave.bandwidth, slave.lag) == (DEVICE, 120_000_000)
    assert (str(slave.via), slave.up) == ("10.0.0.1", False)


def test_another_method_drops_the_parameters_that_are_not_for_it(layers: Layers) -> None:
    change(layers, {"bundle": "ipeql0", "set": {"count": "packets"}})
    spec = change(layers, {"bundle": "ipeql0", "set": {"method": "round_robin"}})
    assert spec.parameters == ()


def test_what_is_transient_is_marked(layers: Layers) -> None:
    change(layers, ENSLAVE_ETH5)
    change(layers, FREE_ETH1)
    change(layers, {"bundle": "ipeql0", "set-slave": {"name": "ppp0", "lag": "1ms"}})
    spec = change(layers, {"bundle": "ipeql0", "set": {"method": "auto_bw"}})
    assert dict(spec.changed)["method"] == "transient"
    assert dict(spec.freed) == {"eth1": "transient"}
    assert [dict(slave.changed) for slave in spec.slaves] == [
        {"lag": "transient"},
        {},
        {"slave": "transient"},
    ]


@pytest.mark.parametrize(
    ("data", "code", "message"),
    [
        ({"bundle": "ipeql7", "free": "eth1"}, "IPQ-D002", "no bundle is called 'ipeql7'"),
        ({"bundle": "ipeql0", "free": "eth7"}, "IPQ-D005", "ipeql0 has no slave 'eth7'"),
        (
            {"bundle": "ipeql0", "enslave": {"name": "eth2", "bandwidth": "1Mbit"}},
            "IPQ-C022",
            "ipeql0: eth2 is a slave of ipeql1 already",
        ),
        (
            {"bundle": "ipeql0", "enslave": {"name": "ipeql1", "bandwidth": "1Mbit"}},
            "IPQ-C023",
            "ipeql0: ipeql1 is a bundle",
        ),
        (
            {"bundle": "ipeql0", "enslave": {"name": "eth5"}},
            "IPQ-C020",
            "ipeql0/eth5: bw_load needs the bandwidth of every slave",
        ),
        (
            {"bundle": "ipeql0", "enslave": {"name": "eth5", "bandwidth": "10Mbps"}},
            "IPQ-C014",
            "bandwidth: `10Mbps` is not a rate",
        ),
        (
            {"bundle": "ipeql1", "free": "eth2"},
            "IPQ-C014",
            "ipeql1: min-slaves is 2, but the bundle has 1",
        ),
        (
            {"bundle": "ipeql0", "set": {"max-hold": "1ms"}},
            "IPQ-C011",
            "ipeql0: the method bw_load has no parameter `max-hold`",
        ),
        ({"bundle": "ipeql0", "sett": {}}, "IPQ-C011", "unknown key `sett`"),
        ({"bundle": "ipeql0"}, "IPQ-C012", "a change does one thing, this one nothing"),
        (
            FREE_ETH1 | ENSLAVE_ETH5,
            "IPQ-C014",
            "a change does one thing, this one both enslave and free",
        ),
        ("free", "IPQ-C013", "expected keys with values, found `free`"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(
    layers: Layers, data: object, code: str, message: str
) -> None:
    before = layers.desired
    with pytest.raises(IpeqlError) as caught:
        change(layers, data)
    problem = caught.value.problems[0]
    assert (problem.code, problem.message) == (code, message)
    assert layers.desired == before


def test_the_last_slave_can_be_freed(layers: Layers) -> None:
    for label in ("eth1", "ppp0", "wwan*"):
        change(layers, {"bundle": "ipeql0", "free": label})
    assert slaves(layers) == []


def test_changes_outlive_reload_and_restart_until_they_are_reverted(
    layers: Layers, etc: Path
) -> None:
    change(layers, FREE_ETH1)
    change(layers, {"bundle": "ipeql1", "set": {"packets-per-slave": 2}})
    layers.load()
    assert layers.desired.generation == 2
    for there in (layers, started(etc)):
        assert slaves(there) == ["ppp0", "wwan*"]
    layers.revert("ipeql0")
    assert slaves(layers) == ["eth1", "ppp0", "wwan*"]
    assert layers.desired.bundles["ipeql1"].parameters
    layers.revert()
    assert layers.desired.bundles == load([etc / "a.yaml"]).bundles == started(etc).desired.bundles
    with pytest.raises(NotFoundError):
        layers.revert("ipeql7")


def test_a_change_that_fits_no_more_waits_and_says_so(layers: Layers, etc: Path) -> None:
    change(layers, {"bundle": "ipeql1", "set": {"min-slaves": 1}})
    change(layers, FREE_ETH1)
    (etc / "a.yaml").write_text("version: 1\n")
    layers.load()
    assert [(problem.code, problem.message) for problem in layers.desired.problems] == [
        (
            Code.WITHOUT_EFFECT,
            "ipeql1: `set ipeql1 min-slaves=1` is without effect: no bundle is called 'ipeql1'",
        ),
        (
            Code.WITHOUT_EFFECT,
            "ipeql0: `free ipeql0 eth1` is without effect: no bundle is called 'ipeql0'",
        ),
    ]
    (etc / "a.yaml").write_text(FILES)
    layers.load()
    assert layers.desired.problems == ()
    assert slaves(layers) == ["ppp0", "wwan*"]


def test_a_bad_file_is_refused_whatever_is_transient(layers: Layers, etc: Path) -> None:
    change(layers, FREE_ETH1)
    before = layers.desired
    (etc / "a.yaml").write_text("version: 2\n")
    with pytest.raises(ConfigError):
        layers.load()
    assert layers.desired == before


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 9}', '{"version":1,"changes":[1]}'])
def test_a_damaged_list_of_changes_does_not_stop_the_daemon(etc: Path, text: str) -> None:
    (etc.parent / "transient.json").write_text(text)
    assert started(etc).desired.bundles == load([etc / "a.yaml"]).bundles


def test_what_is_saved_is_transient_no_more(layers: Layers, etc: Path) -> None:
    change(layers, ENSLAVE_ETH5)
    change(layers, FREE_ETH1)
    parsed = parse_change(FREE_ETH1)
    path = save([etc], parsed)
    layers.adopt(parsed)
    assert dict(layers.desired.bundles["ipeql0"].freed) == {"eth1": f"{path}:4"}
    layers.revert()
    assert slaves(layers) == ["ppp0", "wwan*"]
    assert not layers.desired.problems


def test_saving_the_contrary_leaves_no_trace(etc: Path) -> None:
    save([etc], parse_change(ENSLAVE_ETH5))
    path = save([etc], parse_change({"bundle": "ipeql0", "free": "eth5"}))
    assert "eth5" not in path.read_text()
    assert started(etc).desired == started(etc).desired


def test_a_change_reads_as_the_command_that_makes_it() -> None:
    assert in_words(parse_change(FREE_ETH1)) == "free ipeql0 eth1"
    assert in_words(parse_change(ENSLAVE_ETH5)) == "enslave ipeql0 eth5 bandwidth=1Mbit"
    data = {"bundle": "ipeql0", "set-slave": {"name": "eth1", "lag": "5ms"}}
    assert in_words(parse_change(data)) == "set ipeql0/eth1 lag=5ms"


NAMES = st.sampled_from(["eth1", "ppp0", "wwan*", "eth2", "eth3", "eth5", "on", "010"])
KEYS: dict[str, st.SearchStrategy[Any]] = {
    "bandwidth": st.sampled_from(["1Mbit", "device"]),
    "lag": st.just("5ms"),
    "via6": st.just("fe80::1"),
    "up": st.booleans(),
    "use": st.sampled_from(USES),
}
SETTINGS: dict[str, st.SearchStrategy[Any]] = {
    "method": st.sampled_from(list(METHODS)),
    "count": st.just("packets"),
    "max-hold": st.just("1ms"),
    "packets-per-slave": st.just(2),
    "min-slaves": st.sampled_from([1, 2]),
    "mtu": st.sampled_from(["auto", 1400]),
    "stripe-unit": st.sampled_from(["burst", "flow"]),
    "overflow-after": st.just("50ms"),
    "copies": st.just(3),
    "classes": st.sampled_from([[], [{"dscp": ["ef", 34], "method": "duplicate"}]]),
}


@st.composite
def an_entry(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(NAMES)
    link = {"match": {"name": name}} if "*" in name else {"name": name}
    return link | draw(st.fixed_dictionaries({}, optional=KEYS))


@st.composite
def a_change(draw: st.DrawFn) -> Change:
    doing = draw(
        st.one_of(
            st.builds(lambda entry: {"enslave": entry}, an_entry()),
            st.builds(lambda label: {"free": label}, NAMES),
            st.builds(lambda entry: {"set-slave": entry}, an_entry()),
            st.builds(lambda keys: {"set": keys}, st.fixed_dictionaries({}, optional=SETTINGS)),
        )
    )
    return parse_change({"bundle": draw(st.sampled_from(["ipeql0", "ipeql1", "ipeql2"])), **doing})


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> DesiredState:
    path = tmp_path_factory.mktemp("etc") / "a.yaml"
    path.write_text(FILES)
    return load([path])


@given(changes=st.lists(a_change(), max_size=8))
def test_whatever_is_changed_obeys_the_rules(files: DesiredState, changes: list[Change]) -> None:
    after = overlay(files, map(Located, changes))
    links = [slave.label for spec in after.bundles.values() for slave in spec.slaves]
    assert len(links) == len(set(links))
    for spec in after.bundles.values():
        assert list(check(spec)) == []
    assert overlay(files, map(Located, changes)) == after


def in_any_order(spec: BundleSpec) -> tuple[BundleSpec, frozenset[SlaveSpec]]:
    return replace(spec, slaves=()), frozenset(spec.slaves)


@given(changes=st.lists(a_change(), max_size=12))
def test_a_list_of_changes_stays_short_and_means_the_same(
    files: DesiredState, changes: list[Change]
) -> None:
    kept: tuple[Change, ...] = ()
    for new in changes:
        before = overlay(files, map(Located, kept))
        try:
            expected = changed(before.bundles, Located(new))
            kept = revised(files, kept, new)
        except IpeqlError:
            continue
        after = overlay(files, map(Located, kept))
        assert in_any_order(after.bundles[new.bundle]) == in_any_order(expected)
        assert after.problems == ()
        assert len(kept) <= 2 * 3 * 9  # two a subject: three bundles, eight slaves in each


@given(changes=st.lists(a_change(), min_size=1, max_size=5))
def test_changes_pass_through_files_unchanged(
    tmp_path_factory: pytest.TempPathFactory, changes: list[Change]
) -> None:
    etc = tmp_path_factory.mktemp("etc")
    (etc / "a.yaml").write_text(FILES)
    files = load([etc / "a.yaml"])
    kept: tuple[Change, ...] = ()
    for new in changes:
        assert parse_change(json.loads(json.dumps(to_data(new)))) == new
        try:
            save([etc], new)
            kept = revised(files, kept, new)
        except IpeqlError:
            continue
    assert load(sorted(etc.glob("*.yaml"))).bundles == overlay(files, map(Located, kept)).bundles


def test_files_that_changed_since_they_were_read_are_known(etc: Path, layers: Layers) -> None:
    assert layers.changed_files() == []
    file, new = etc / "a.yaml", etc / "b.yaml"
    file.touch()
    assert layers.changed_files() == []
    file.write_text(FILES + "# more\n")
    new.write_text("version: 1\nbundles: {}\n")
    assert layers.changed_files() == [str(file), str(new)]
    layers.load()
    assert layers.changed_files() == []
    new.unlink()
    assert layers.changed_files() == [str(new)]
    file.write_text("bundels: {}")
    with pytest.raises(ConfigError):
        layers.load()
    assert layers.changed_files() == [str(file), str(new)]
