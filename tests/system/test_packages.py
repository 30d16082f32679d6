"""The Debian packages: built once, installed in a bare tree without a network."""

import os
import subprocess
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path

import pytest

import ipeql
from lab.network.hosts import Lab
from lab.network.traffic import UdpStream
from tests.system import tree as trees
from tests.system.conftest import CONFIGURATION
from tests.system.machine import Machine, overlay

pytestmark = [pytest.mark.netns, pytest.mark.system, pytest.mark.timeout(600)]

FILE = "/etc/ipeql/home.yaml"
NEWER = "999"

INSTALL = ("apt-get", "install", "--yes", "--no-install-recommends")


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The files of the packages, by name."""
    if reason := trees.missing():
        pytest.skip(reason)
    output = tmp_path_factory.mktemp("packages")
    quickly = os.environ | {"DPKG_DEB_COMPRESSOR_LEVEL": "0"}
    subprocess.run([trees.ROOT / "scripts/package", output], check=True, env=quickly)
    return {path.name.partition("_")[0]: path for path in output.glob("*.deb")}


@pytest.fixture(scope="module")
def installed(packages: dict[str, Path]) -> Iterator[Path]:
    """A bare tree into which apt has installed the package."""
    with overlay(trees.bare()) as tree:
        put(packages["ipeql"], tree)
        trees.nspawn(tree, *INSTALL, "/root/ipeql.deb")
        yield tree


def put(package: Path, tree: Path) -> None:
    (tree / "root/ipeql.deb").write_bytes(package.read_bytes())


def newer(package: Path, directory: Path) -> Path:
    """Return the package as of a version NEWER."""
    root, packed = directory / "root", directory / "newer.deb"
    subprocess.run(["dpkg-deb", "--raw-extract", package, root], check=True)
    module = root / "usr/lib/ipeql/python/ipeql/__init__.py"
    sums = root / "DEBIAN/md5sums"
    before = md5(module.read_bytes()).hexdigest()
    for file in (module, root / "DEBIAN/control"):
        file.write_text(file.read_text().replace(ipeql.__version__, NEWER))
    sums.write_text(sums.read_text().replace(before, md5(module.read_bytes()).hexdigest()))
    subprocess.run(["dpkg-deb", "--build", "-Znone", root, packed], check=True)
    return packed


def left(tree: Path, listed: set[str]) -> set[str]:
    """Return what is named as IPEQL is or was ``listed``, and belongs to no package now."""
    found = {f"/{path.relative_to(tree)}" for path in tree.rglob("*")}
    lists = (tree / "var/lib/dpkg/info").glob("*.list")
    others = {name for file in lists for name in file.read_text().splitlines()}
    others |= {f"/usr{name}" for name in others if name.startswith("/lib/")}  # is a link to there
    return {name for name in found if name in listed or "ipeql" in name} - others


def test_lintian_finds_no_error(packages: dict[str, Path]) -> None:
    found = subprocess.run(
        ["lintian", "--fail-on=error", *packages.values()],
        check=False,
        text=True,
        stdout=subprocess.PIPE,
    )
    assert found.returncode == 0, found.stdout


def test_it_is_whole_and_enables_nothing(tree: Path, lab: Lab) -> None:
    with Machine(tree, lab.a) as machine:
        assert machine.run("dpkg", "--verify", "ipeql") == ""
        assert machine.run("ipeql", "version") == f"ipeql {ipeql.__version__}\n"
        assert machine.run("sh", "-c", "cd /etc/ipeql && ls") == "example.yaml.disabled\n"
        for unit in ("ipeql.service", "ipeql-wait-online.service"):
            shown = ("systemctl", "show", "--value", "--property=UnitFileState,ActiveState", unit)
            assert machine.run(*shown).split() == ["inactive", "disabled"]
            assert machine.run("systemd-analyze", "verify", "--man=yes", unit) == ""
        for page in ("ipeql", "ipeqld", "ipeql.yaml", "ipeql-enslave", "ipeql_enslave"):
            assert "/usr/share/man" in machine.run("man", "--where", page)
        machine.write(FILE, CONFIGURATION.replace("addresses", "adresses"))
        said = machine.try_("ipeql", "check")
        assert (said.returncode, said.stderr.partition(" error: ")[0]) == (4, f"{FILE}:5:5:")


def test_bash_completes(tree: Path) -> None:
    script = """
        . /usr/share/bash-completion/completions/ipeql
        COMP_WORDS=(ipeql set ipeql0 method = bw_lag_) COMP_CWORD=5
        _ipeql_completion ipeql
        echo "${COMPREPLY[@]}"
    """
    assert trees.nspawn(tree, "bash", "-c", script) == "bw_lag_val bw_lag_eq\n"


def test_the_package_and_the_script_do_not_mix(packages: dict[str, Path], tree: Path) -> None:
    said = trees.nspawn(tree, "sh", "-c", "/source/scripts/install 2>&1 || true")
    assert "as a package" in said
    with overlay(trees.bare()) as bare:
        put(packages["ipeql"], bare)
        unit = bare / "usr/local/lib/systemd/system/ipeql.service"
        unit.parent.mkdir(parents=True)
        unit.touch()
        said = trees.nspawn(bare, "sh", "-c", "dpkg --unpack /root/ipeql.deb 2>&1 || true")
        assert "run scripts/uninstall" in said
        assert not (bare / "usr/lib/ipeql").exists()


def test_an_upgrade_loses_no_packet_and_a_purge_leaves_nothing(
    packages: dict[str, Path], tree: Path, lab: Lab, tmp_path: Path
) -> None:
    with Machine(tree, lab.a) as machine:
        machine.write(FILE, CONFIGURATION)
        machine.run("systemctl", "enable", "--now", "ipeql", "ipeql-wait-online")
        show = ("systemctl", "show", "--value", "--property=MainPID", "ipeql")
        before = machine.run(*show)
        put(newer(packages["ipeql"], tmp_path), tree)
        stream = UdpStream(lab, rate=1000)
        machine.run(*INSTALL, "/root/ipeql.deb")
        result = stream.finish()
        assert machine.run(*show) != before
        assert machine.run("ipeql", "version") == f"ipeql {NEWER}\n"
        assert "ipeql0  ready" in machine.run("ipeql", "status")
        assert result.sent > 500
        assert (result.lost, result.duplicated) == (0, 0)

        listed = set(machine.run("dpkg", "--listfiles", "ipeql").splitlines())
        machine.run("apt-get", "purge", "--yes", "--quiet", "ipeql")
        with pytest.raises(LookupError):
            lab.a.index("ipeql0")
        assert machine.run("find", "/run", "-name", "*ipeql*") == ""
        machine.run("rm", "/root/ipeql.deb")
    assert left(tree, listed) == set()
