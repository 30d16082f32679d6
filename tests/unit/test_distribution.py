"""The source distribution, and the wheels that are built from it."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import ipeql

ROOT = Path(__file__).parents[2]
OBJECTS = {
    "ipeql/backends/bpf/ipeql.bpf.o",
    "ipeql/backends/receive/receive.bpf.o",
}


def setup(directory: Path, *command: str, path: str | None = None) -> None:
    environment = os.environ | ({"PATH": path} if path else {})
    subprocess.run(
        [sys.executable, "setup.py", "-q", *command],
        cwd=directory,
        env=environment,
        check=True,
        capture_output=True,
    )


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    """The files of the repository."""
    pytest.importorskip("setuptools", minversion="77")
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("needs git and a clone")
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True)
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).exists()]


@pytest.fixture(scope="module")
def source(tracked: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unpacked source distribution."""
    clone, made = tmp_path_factory.mktemp("clone"), tmp_path_factory.mktemp("source")
    for name in tracked:
        copy = clone / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy)
    setup(clone, "sdist", "--dist-dir", str(made))
    (archive,) = made.iterdir()
    with tarfile.open(archive) as packed:
        packed.extractall(made, filter="data")
    return made / archive.name.removesuffix(".tar.gz")


def wheel(source: Path, tmp_path: Path, path: str | None = None) -> tuple[str, set[str]]:
    """Return the tag of the wheel that is built, and which eBPF programs are in it."""
    copy = tmp_path / "source"
    shutil.copytree(source, copy)
    setup(copy, "bdist_wheel", "--dist-dir", str(tmp_path / "wheel"), path=path)
    (made,) = (tmp_path / "wheel").iterdir()
    with zipfile.ZipFile(made) as packed:
        names = set(packed.namelist())
    assert "ipeql/api/dbus/org.ipeql1.Manager.xml" in names
    return made.stem.split("-", 2)[2], {name for name in names if name.endswith(".o")}


def test_the_source_distribution_is_the_whole_repository(source: Path, tracked: list[str]) -> None:
    assert [name for name in tracked if not (source / name).exists()] == []


def test_a_wheel_with_the_ebpf_programs_is_of_this_platform(source: Path, tmp_path: Path) -> None:
    if not shutil.which("clang"):
        pytest.skip("needs clang and libbpf-dev")
    tag, objects = wheel(source, tmp_path)
    assert tag.startswith("py3-none-linux_")
    assert objects == OBJECTS


def test_a_wheel_without_them_is_of_any(source: Path, tmp_path: Path) -> None:
    assert wheel(source, tmp_path, path="/nonexistent") == ("py3-none-any", set())


def test_the_package_is_of_the_same_version() -> None:
    latest = (ROOT / "debian/changelog").read_text().partition("\n")[0]
    assert latest.startswith(f"ipeql ({ipeql.__version__})")
