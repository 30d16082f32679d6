"""How slaves were before outlives the daemon; trouble with the file is never fatal."""

import logging
from pathlib import Path

import pytest

from ipeql.apply import SavedSlaves
from ipeql.apply.slaves import Changed

STRICT_TO_LOOSE = Changed(earlier=1, ours=2)


def test_a_restart_finds_what_was_saved(tmp_path: Path) -> None:
    saved = SavedSlaves(tmp_path)
    saved.remember("ipeql0", 2, STRICT_TO_LOOSE)
    saved.remember("ipeql0", 3, None)
    again = SavedSlaves(tmp_path)
    assert again.prepared(range(10)) == {("ipeql0", 2), ("ipeql0", 3)}
    assert again.forget("ipeql0", 2) == STRICT_TO_LOOSE
    assert SavedSlaves(tmp_path).prepared(range(10)) == {("ipeql0", 3)}


def test_the_first_value_stands(tmp_path: Path) -> None:
    saved = SavedSlaves(tmp_path)
    saved.remember("ipeql0", 2, None)
    saved.remember("ipeql0", 2, STRICT_TO_LOOSE)
    saved.remember("ipeql0", 2, Changed(earlier=2, ours=0))
    assert saved.forget("ipeql0", 2) == Changed(earlier=1, ours=0)


def test_links_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    saved = SavedSlaves(tmp_path)
    saved.remember("ipeql0", 2, STRICT_TO_LOOSE)
    assert saved.prepared({3: "another"}) == frozenset()
    assert saved.prepared({2: "a new link with the old ifindex"}) == frozenset()


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
    assert saved.prepared(range(10)) == frozenset()
    saved.remember("ipeql0", 2, STRICT_TO_LOOSE)
    assert SavedSlaves(tmp_path).prepared(range(10)) == {("ipeql0", 2)}


def test_a_directory_that_cannot_be_written_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    saved = SavedSlaves(tmp_path / "file")
    with caplog.at_level(logging.WARNING):
        saved.remember("ipeql0", 2, STRICT_TO_LOOSE)
    assert "cannot write" in caplog.text
    assert saved.forget("ipeql0", 2) == STRICT_TO_LOOSE
