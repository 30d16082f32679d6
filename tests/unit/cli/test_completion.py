"""What the shell completes, by click's protocol with bash, which cuts words at ``=``."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ipeql.methods import METHODS, USES
from tests.unit.cli.command import VALID, Daemon, run

Complete = Callable[..., list[str]]


@pytest.fixture
def complete(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> Complete:
    """The words that complete the last one of a line."""

    def complete(*words: str) -> list[str]:
        monkeypatch.setenv("_IPEQL_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", " ".join(["ipeql", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        return [word.removeprefix("plain,") for word in run().stdout.split()]

    return complete


@pytest.mark.parametrize("verb", ["status", "show", "enslave", "free", "revert", "wait-online"])
def test_bundles_are_those_of_the_daemon(daemon: Daemon, complete: Complete, verb: str) -> None:
    assert complete(verb, "ipeql") == ["ipeql0", "ipeql1", "ipeql2"]


def test_slaves_are_those_of_the_bundle(daemon: Daemon, complete: Complete) -> None:
    assert complete("free", "ipeql0", "eth") == ["eth1", "eth9"]
    assert complete("free", "ipeql1", "eth") == ["eth2"]
    assert complete("set", "ipeql1") == ["ipeql1", "ipeql1/eth2"]


def test_without_a_daemon_they_are_those_of_the_files(tmp_path: Path, complete: Complete) -> None:
    files = ("--config", str(tmp_path))
    (tmp_path / "home.yaml").write_text(VALID)
    assert complete(*files, "status", "ip") == ["ipeql0"]
    assert complete(*files, "set", "ipeql0/e") == ["ipeql0/eth1"]
    (tmp_path / "home.yaml").write_text("nonsense")
    assert complete(*files, "status", "ip") == []


def test_a_link_to_enslave_is_one_of_the_machine(daemon: Daemon, complete: Complete) -> None:
    links = {path.name for path in Path("/sys/class/net").iterdir()}
    assert set(complete("enslave", "ipeql0", "")) == links - {"lo"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ipeql0", "m"], ["method=", "max-hold=", "min-slaves=", "mtu="]),
        (["ipeql0/eth1", "u"], ["use=", "up="]),
        (["ipeql0", "me"], [f"method={method}" for method in METHODS]),
        (["ipeql0", "method", "="], [*METHODS]),
        (["ipeql0", "method", "=", "duplicate", "mt"], ["mtu=auto"]),
        (["ipeql0", "method", "=", "dup"], ["duplicate"]),
        (["ipeql0", "method=dup"], ["method=duplicate"]),
        (["ipeql0/eth1", "use", "="], [*USES]),
        (["ipeql0/eth1", "up", "="], ["true", "false"]),
        (["ipeql0/eth1", "bandwidth="], [f"bandwidth={v}" for v in ("auto", "device", "100Mbit")]),
        (["ipeql0", "nonsense="], []),
    ],
)
def test_keys_and_values_of_set(
    runtime: Path, complete: Complete, words: list[str], expected: list[str]
) -> None:
    assert complete("set", *words) == expected


def test_values_of_an_option_of_enslave(runtime: Path, complete: Complete) -> None:
    assert complete("enslave", "ipeql0", "eth1", "--use", "w") == ["when-full", "when-down"]
