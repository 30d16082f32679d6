"""Every mistake has its text: tests/golden/config/CASE holds the files and ``expected.txt``.

``UPDATE_GOLDEN=1 pytest tests/unit/test_config_golden.py`` writes the texts anew: read the diff.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from ipeql.config import find_files, load
from ipeql.config.yaml import reader
from ipeql.errors import ConfigError

GOLDEN = Path(__file__).parents[2] / "golden" / "config"
CASES = sorted(path.name for path in GOLDEN.iterdir())

VALID = b"version: 1\nbundles: {}\n"

BUILD: dict[str, Callable[[Path], object]] = {
    "binary": lambda path: path.write_bytes(b"\x7fELF\x02\x01\x01\x00\x00\xff\xfe"),
    "latin1": lambda path: path.write_bytes(VALID + "# für daheim\n".encode("latin-1")),
    "utf16": lambda path: path.write_bytes(VALID.decode().encode("utf-16")),
    "control_character": lambda path: path.write_bytes(b"version: 1\nbundles: \x07\n"),
    "large": lambda path: path.write_bytes(b"# more\n" * 1_500_000),
    "directory": lambda path: path.mkdir(),
    "dangling_link": lambda path: path.symlink_to("gone.yaml"),
    "fifo": os.mkfifo,
}
"""The inputs that are no text files, by case."""


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
def test_message(case: str, loader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_LOADER", getattr(yaml, loader, yaml.SafeLoader))
    shutil.copytree(GOLDEN / case, tmp_path, dirs_exist_ok=True)
    if case in BUILD:
        BUILD[case](tmp_path / "a.yaml")
    monkeypatch.chdir(tmp_path)
    paths = find_files([Path()]) or [Path("a.yaml")]

    with pytest.raises(ConfigError) as caught:
        load(paths)

    expected = GOLDEN / case / "expected.txt"
    found = f"{caught.value}\n"
    if os.environ.get("UPDATE_GOLDEN") and loader == "CSafeLoader":
        expected.write_text(found)
    assert found == expected.read_text()
