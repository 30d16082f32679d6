"""How slaves were before outlives the daemon; trouble with the file is never fatal."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from ipeql.apply import SavedSlaves
from ipeql.apply.slaves import Changed
from ipeql.state import Link

LINKS = {
    ifindex: Link(ifindex, f"eth{ifindex}", mac=f"02:00:00:00:00:{ifindex:02x}")
    for ifindex in range(10)
}
STRICT_TO_LOOSE = Changed(earlier=1, ours=2)


def test_a_restart_finds_what_was_saved(tmp_path: Path) -> None:
    saved = SavedSlaves(tmp_path)
    saved.remember("ipeql0", 2, STRICT_TO_LOOSE)
    saved.remember("ipeql0", 3, None)
    again = SavedSlaves(tmp_path)
    assert again.prepared(LINKS) == {("ipeql0", 2), ("ipeql0", 3)}
    assert again.forget("ipeql0", 2) == STRICT_TO_LOOSE
    assert SavedSlaves(tmp_path).prepared(LINKS) == {("ipeql0", 3)}


def test_the_first_value_stands(tmp_path: Path) -> None:
    saved = SavedSlaves(tmp_path)
    saved.remember("ipeql0", 2, None)
    saved.remember("ipeql0", 2, STRICT_TO_LOOSE)
    saved.remember("ipeql0", 2, Changed(earlier=2, ours=0))
    assert saved.forget("ipeql0", 2) == Changed(earlier=1, ours=0)


def test_links_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    saved = SavedSlaves(tmp_path)
    saved.remember("ipeql0", 2, STRICT_TO_LOOSE)
    assert saved.prepared({3: LINKS[3]}) == frozenset()
    assert saved.prepared({2: Link(2, "a new link with the old ifindex")}) == frozenset()


def test_a_link_that_got_the_ifindex_of_another_meanwhile_is_not_enslaved(tmp_path: Path) -> None:
    saved = SavedSlaves(tmp_path)
    saved.remember("ipeql0", 2, STRICT_TO_LOOSE)
    assert saved.prepared(LINKS) == {("ipeql0", 2)}
    changed = {2: replace(LINKS[2], mac="02:ff:ff:ff:ff:ff")}
    assert saved.prepared(changed) == {("ipeql0", 2)}, "the address of a link may change"
    assert SavedSlaves(tmp_path).prepared(changed) == {("ipeql0", 2)}
    assert SavedSlaves(tmp_path).prepared(LINKS) == frozenset()


def test_a_slave_that_moved_is_restored_by_the_bundle_that_has_it(tmp_path: Path) -> None:
    saved = SavedSlaves(tmp_path)
    saved.remember("ipeql0", 2, STRICT_TO_LOOSE)
    saved.remember("ipeql1", 2)
    assert saved.forget("ipeql0", 2) is None
    assert saved.forget("ipeql1", 2) == STRICT_TO_LOOSE


@pytest.mark.parametrize(
    ("other", "is_used"),
    [
        ({"boot": "another", "booted": 10**9}, False),
        ({"boot": "another", "booted": "lately"}, False),
        ({"network_namespace": 1}, False),
        ({"boot": "made up, by systemd-nspawn"}, True),
        ({"booted": 10**9, "what": "the clock has been set"}, True),
    ],
)
def test_a_file_of_another_boot_or_container_is_not_used(
    tmp_path: Path, other: dict[str, object], is_used: bool
) -> None:
    SavedSlaves(tmp_path).remember("ipeql0", 2, STRICT_TO_LOOSE)
    path = tmp_path / "saved-slaves.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | other))
    assert bool(SavedSlaves(tmp_path).prepared(LINKS)) == is_used


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"version": 2, "slaves": []}', '{"version": 1}', "\xff",
     '{"version": 1, "slaves": [{"bundle": "ipeql0"}]}',
     '{"version": 1, "slaves": [{"bundle": "ipeql0", "ifindex": "two", "rp_filter": 1}]}',
     '{"version": 1, "slaves": [{"bundle": "ipeql0", "ifindex": 2, "rp_filter": "x"}]}'],
)  # fmt: skip
def test_a_damaged_file_is_logged_and_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    (tmp_path / "saved-slaves.json").write_text(text, encoding="latin-1")
    with caplog.at_level(logging.WARNING):
        saved = SavedSlaves(tmp_path)
    assert "saved-slaves.json" in caplog.text
    assert saved.prepared(LINKS) == frozenset()
    saved.remember("ipeql0", 2, STRICT_TO_LOOSE)
    assert SavedSlaves(tmp_path).prepared(LINKS) == {("ipeql0", 2)}


def test_a_directory_that_cannot_be_written_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    saved = SavedSlaves(tmp_path / "file")
    with caplog.at_level(logging.WARNING):
        saved.remember("ipeql0", 2, STRICT_TO_LOOSE)
    assert "cannot write" in caplog.text
    assert saved.forget("ipeql0", 2) == STRICT_TO_LOOSE
