"""docs/configuration.md says what the model says; its examples load."""

import re
from pathlib import Path

import pytest

from ipeql.config import load
from ipeql.config.schema.model import RECREATES
from scripts.docs.__main__ import CONFIGURATION, ROOT
from scripts.docs.tables import TABLES

EXAMPLES = [
    text
    for page in (CONFIGURATION, ROOT / "README.md")
    for text in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.S)
]


def test_every_table_is_there() -> None:
    found = re.findall(r"<!-- keys: (\w+) -->", CONFIGURATION.read_text())
    assert set(found) == TABLES.keys()


def test_only_the_backend_recreates() -> None:
    recreates = [
        name
        for table in TABLES.values()
        for name, key in table["properties"].items()
        if RECREATES in key
    ]
    assert recreates == ["backend"]


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_load(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    load([path])
