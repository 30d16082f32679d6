"""What a start takes from files of which some have a mistake."""

from pathlib import Path

import pytest

from ipeql.config import Layers
from ipeql.errors import Code, ConfigError

GOOD = "version: 1\nbundles:\n  ipeql0: {method: round_robin, slaves: [{name: eth1}]}\n"
BAD = "version: 1\nbundles:\n  ipeql1: {method: bw_load, slaves: [{name: eth9, bandwith: 1Mbit}]}\n"


@pytest.mark.parametrize("bad", [BAD, BAD.replace("}]}", "}"), GOOD, "version: 2\n"])
def test_a_start_takes_the_good_files(tmp_path: Path, bad: str) -> None:
    (tmp_path / "10-home.yaml").write_text(GOOD)
    (tmp_path / "90-other.yaml").write_text(bad)
    layers = Layers([tmp_path], tmp_path)
    problems = layers.start()
    assert problems
    assert list(layers.desired.bundles) == ["ipeql0"]
    assert not layers.desired.complete
    with pytest.raises(ConfigError) as refused:
        layers.load()
    assert refused.value.problems == problems
    assert (list(layers.desired.bundles), layers.desired.generation) == (["ipeql0"], 1)
    (tmp_path / "90-other.yaml").write_text(BAD.replace("bandwith", "bandwidth"))
    layers.load()
    assert list(layers.desired.bundles) == ["ipeql0", "ipeql1"]
    assert layers.desired.complete


def test_a_file_that_cannot_be_read_counts_as_one_with_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "10-home.yaml").write_text(GOOD)
    (tmp_path / "90-other.yaml").symlink_to("nowhere")
    layers = Layers([tmp_path], tmp_path)
    assert [problem.code for problem in layers.start()] == [Code.UNREADABLE]
    assert not layers.desired.complete


def test_without_a_good_bundle_there_is_no_start(tmp_path: Path) -> None:
    (tmp_path / "10-home.yaml").write_text("version: 1\nbundles: {}\n")
    (tmp_path / "90-other.yaml").write_text(BAD)
    with pytest.raises(ConfigError):
        Layers([tmp_path], tmp_path).start()
