"""Dashboard and alerts name metrics that there are, and the alerts fire when they should."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
RULES = ROOT / "packaging" / "prometheus" / "ipeql.rules.yml"
DASHBOARD: dict[str, Any] = json.loads((ROOT / "packaging" / "grafana" / "ipeql.json").read_text())
EXPOSED = (ROOT / "tests" / "golden" / "cli" / "metrics.txt").read_text()
DOCUMENTED = (ROOT / "docs" / "metrics.md").read_text()

METRICS = set(re.findall(r"^(\w+)", re.sub(r"^#.*\n", "", EXPOSED, flags=re.M), re.M))
NAME = re.compile(r"\bipeql_\w+")


def expressions() -> list[str]:
    rules = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    targets = [target for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return [each["expr"] for each in (*rules, *targets)]


def test_what_is_asked_for_is_exposed() -> None:
    assert {name for each in expressions() for name in NAME.findall(each)} <= METRICS


def test_every_metric_is_documented_and_no_other() -> None:
    assert set(re.findall(r"^\| `(ipeql_\w+)", DOCUMENTED, re.M)) == METRICS


@pytest.mark.parametrize(
    "command",
    [
        ("check", "rules", str(RULES)),
        ("test", "rules", str(Path(__file__).with_name("rules_test.yml"))),
    ],
    ids=" ".join,
)
def test_promtool_agrees(command: tuple[str, ...]) -> None:
    if not shutil.which("promtool"):
        pytest.skip("needs promtool: apt install prometheus")
    done = subprocess.run(
        ("promtool", *command), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_panel_lies_on_another() -> None:
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
