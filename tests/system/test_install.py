"""scripts/install and scripts/uninstall."""

import shutil
from pathlib import Path

import pytest

from lab.network.hosts import Lab
from tests.system import tree as trees
from tests.system.machine import Machine, overlay

pytestmark = [pytest.mark.netns, pytest.mark.system, pytest.mark.timeout(600)]

NOT_OURS = ("/var/lib/systemd/catalog/database", "/root/.cache")
"""What the system's programs write when IPEQL is installed; pip's cache."""


def files(tree: Path) -> set[str]:
    found = (f"/{path.relative_to(tree)}" for path in tree.rglob("*"))
    return {name for name in found if not name.startswith(NOT_OURS)}


def test_uninstall_removes_what_installing_twice_installed() -> None:
    if reason := trees.missing():
        pytest.skip(reason)
    with overlay(trees.debian()) as tree:
        trees.nspawn(tree, "true")
        before = files(tree)
        trees.install(tree)
        trees.install(tree)
        assert len(files(tree) - before) > 100
        trees.nspawn(tree, "/source/scripts/uninstall")
        assert files(tree) == before


def test_installing_enables_nothing(tree: Path) -> None:
    for unit in ("ipeql.service", "ipeql-wait-online.service"):
        shown = trees.nspawn(tree, "sh", "-c", f"systemctl is-enabled {unit} || true")
        assert shown == "disabled\n"
    assert [path.name for path in (tree / "etc/ipeql").iterdir()] == ["example.yaml.disabled"]


def test_uninstall_stops_what_runs_and_leaves_the_configuration(machine: Machine, lab: Lab) -> None:
    shutil.copytree(trees.ROOT / "scripts", machine.tree / "root/scripts")
    machine.run("/root/scripts/uninstall")
    with pytest.raises(LookupError):
        lab.a.index("ipeql0")
    assert machine.run("find", "/etc", "-name", "*ipeql*") == "/etc/ipeql\n"
    assert machine.run("ls", "/etc/ipeql") == "home.yaml\n"


def test_another_python_is_told_what_to_do(tree: Path) -> None:
    upgrade = "cp /usr/bin/python3.11 /usr/bin/python3.99; ln -sf python3.99 /usr/bin/python3"
    said = trees.nspawn(tree, "sh", "-c", f"{upgrade}; ipeql version 2>&1; echo $?")
    assert "installed for python3.11" in said
    assert "scripts/install" in said
    assert said.endswith("78\n")


@pytest.mark.parametrize("script", ["demo", "test", "install", "package", "uninstall"])
def test_help_installs_nothing(script: str) -> None:
    with overlay(trees.debian()) as bare:
        trees.nspawn(bare, "true")
        before = files(bare)
        said = trees.nspawn(bare, f"/source/scripts/{script}", "--help")
        assert said.startswith(f"scripts/{script}")
        assert files(bare) == before
