"""The files Python needs to run IPEQL and its tests, as one archive.

A guest on the instruction clock unpacks it into memory: starting a program must not mean to wait
for files there.
"""

import re
import sysconfig
import tarfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from lab import ROOT

PACKAGES = (ROOT / "ipeql", ROOT / "lab")
STDLIB = Path(sysconfig.get_path("stdlib"))
SITE = Path(sysconfig.get_path("purelib"))
DIRECTORIES = (STDLIB, SITE, *PACKAGES)
"""What the archive is of; in the guest it takes their place."""

WANTED = ("ipeql", "pytest", "pytest-timeout", "hypothesis")
"""Distributions; those that they need come with them. One that is not installed is left out."""

_NOT_NEEDED = {"site-packages", "test", "tests", "idlelib", "tkinter", "ensurepip", "lib2to3"}


def archive(path: Path) -> None:
    """Write the files to ``path``, a tar archive with absolute names."""
    with tarfile.open(path, "w") as tar:
        ours = (file for package in PACKAGES for file in _tree(package))
        for file in sorted({*_stdlib(STDLIB), *_installed(), *ours}):
            tar.add(file, recursive=False)


def _stdlib(directory: Path) -> Iterator[Path]:
    for path in directory.iterdir():
        if path.is_dir():
            if path.name not in _NOT_NEEDED and not path.name.startswith("config-"):
                yield from _stdlib(path)
        else:
            yield path


def _tree(directory: Path) -> Iterator[Path]:
    return (path for path in directory.rglob("*") if path.is_file())


def _installed() -> Iterator[Path]:
    """Yield the files of the distributions that are wanted."""
    names = list(WANTED)
    for name in names:
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        for requirement in found.requires or ():
            needed = re.match(r"[\w.-]+", requirement)
            if needed and "extra ==" not in requirement and needed[0] not in names:
                names.append(needed[0])
        for file in found.files or ():
            path = Path(str(found.locate_file(file)))
            if path.is_file() and ".." not in path.parts:
                yield path
    yield from SITE.glob("__editable__*")
