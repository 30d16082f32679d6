"""Files that are not read, edits that are hidden, changes that change nothing, endless mistakes."""

import contextlib
import os
from pathlib import Path

import pytest

from ipeql.config import Layers, load, parse_change
from ipeql.config.load import MOST_PROBLEMS
from ipeql.errors import Code, ConfigError

HOME = """\
version: 1
bundles:
  ipeql0:
    method: bw_load
    slaves:
      - {name: eth1, bandwidth: 10Mbit}
      - {name: eth2, bandwidth: 20Mbit}
"""


@pytest.fixture
def layers(tmp_path: Path) -> Layers:
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "home.yaml").write_text(HOME)
    found = Layers([etc], tmp_path)
    found.load()
    return found


@pytest.mark.parametrize("name", ["office.yml", "office.YAML", "office.yaml.txt"])
def test_a_file_that_is_probably_meant_is_mentioned(layers: Layers, name: str) -> None:
    (layers.directories[0] / name).write_text(HOME)
    layers.load()
    (problem,) = layers.desired.problems
    assert problem.code is Code.NOT_READ
    assert problem.message.endswith(f"{name} is not read")
    assert problem.help == "rename it to office.yaml"


@pytest.mark.parametrize("name", [".home.yaml.swp", "home.yaml~", "README", ".hidden.yml"])
def test_what_editors_leave_is_not(layers: Layers, name: str) -> None:
    (layers.directories[0] / name).write_text(HOME)
    layers.load()
    assert layers.desired.problems == ()


def test_a_value_that_is_there_already_is_no_change(layers: Layers, tmp_path: Path) -> None:
    slave = {"name": "eth1", "bandwidth": "10Mbit"}
    layers.change(parse_change({"bundle": "ipeql0", "set-slave": slave}))
    layers.change(parse_change({"bundle": "ipeql0", "set": {"method": "bw_load"}}))
    assert layers.desired.bundles["ipeql0"].changed == ()
    assert not (tmp_path / "transient.json").exists()


def test_an_edit_that_a_transient_change_hides_is_said(layers: Layers) -> None:
    slave = {"name": "eth2", "bandwidth": "30Mbit"}
    layers.change(parse_change({"bundle": "ipeql0", "set-slave": slave}))
    layers.change(parse_change({"bundle": "ipeql0", "set": {"min-slaves": 2}}))
    layers.load()
    assert not layers.desired.problems
    edited = HOME.replace("20Mbit", "40Mbit").replace("bw_load\n", "bw_load\n    min-slaves: 1\n")
    (layers.directories[0] / "home.yaml").write_text(edited.replace("10Mbit", "15Mbit"))
    layers.load()
    problem = layers.desired.problems[-1]
    assert problem.code is Code.HIDDEN
    assert problem.message == "ipeql0: a transient change hides the edit of eth2/bandwidth"
    assert "ipeql revert ipeql0" in problem.help


def test_a_file_full_of_mistakes_shows_the_first(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("version: 1\n" + "".join(f"key{i}: 1\n" for i in range(5000)))
    with pytest.raises(ConfigError) as refused:
        load([path])
    *shown, rest = refused.value.problems
    assert len(shown) == MOST_PROBLEMS
    assert rest.code is Code.MANY
    assert "4980 problems" in rest.message


@pytest.mark.parametrize("name", [b"a\x1b[31m.yaml", b"a\xff.yaml", b"a\xff.yml"])
def test_a_file_may_have_any_name(layers: Layers, name: bytes) -> None:
    path = Path(os.fsdecode(bytes(layers.directories[0]) + b"/" + name))
    path.write_text("version: 2\n")
    with contextlib.suppress(ConfigError):
        layers.load()
    with pytest.raises(ConfigError) as refused:
        load([path])
    for problem in (*layers.desired.problems, *refused.value.problems):
        text = problem.render()
        assert text.replace("\n", "").isprintable()
        text.encode()


@pytest.mark.parametrize(
    "match", [{"name": "a\x1b[2J"}, {"driver": "a\x1b[2J"}, {"name": "*a" * 99}]
)
def test_a_match_is_short_and_can_be_shown(match: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_change({"bundle": "ipeql0", "enslave": {"match": match}})
    assert [problem.code for problem in refused.value.problems] == [Code.BAD_VALUE]
    with pytest.raises(ConfigError):
        parse_change({"bundle": "ipeql0", "free": "a\x1b[2J"})
