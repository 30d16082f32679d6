"""The manual pages render, and what is generated of them and of docs/ is current."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.docs.__main__ import MANUAL, ROOT

PAGES = sorted(MANUAL.iterdir())


def test_what_is_generated_is_current() -> None:
    command = (sys.executable, "-m", "scripts.docs", "--check")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), "run python -m scripts.docs"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_pages_render_without_a_warning(path: Path) -> None:
    if not shutil.which("man"):
        pytest.skip("needs man: apt install man-db")
    shown = subprocess.run(
        ["man", "--warnings=w", "-E", "UTF-8", "-l", str(path)],
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "MANPAGER": "cat", "LANG": "C.UTF-8"},
    )
    assert shown.stderr == ""
    assert "IPEQL" in shown.stdout and "SEE ALSO" in shown.stdout


def test_there_is_a_page_for_every_program_and_the_configuration() -> None:
    assert {path.name for path in PAGES} == {
        "ipeql.1",
        "ipeql.yaml.5",
        "ipeqld.8",
        "ipeql-enslave.8",
    }
