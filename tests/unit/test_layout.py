"""The import contracts of pyproject.toml hold."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_a_name_imports_only_what_stands_below_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cli = pytest.importorskip("importlinter.cli", reason="import-linter is not installed")
    monkeypatch.chdir(ROOT)
    assert cli.lint_imports() == 0, capsys.readouterr().out
