"""Debian trees: one with what scripts/install needs, one as bare as apt leaves it."""

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
SUITE = "bookworm"
PACKAGES = (
    "dbus",
    "iproute2",
    "network-manager",
    "nftables",
    "polkitd",
    "python3",
    "python3-systemd",
    "python3-venv",
    "systemd",
    "systemd-sysv",
    "wireguard-go",
    "wireguard-tools",
)
BARE = ("apt", "dbus", "iproute2", "man-db", "systemd", "systemd-sysv")
NEEDED = (
    *("libbpf1", "python3", "python3-click", "python3-dbus-next", "python3-rich"),
    *("python3-systemd", "python3-yaml"),
)
"""What the package ipeql depends on, and its Depends in debian/control names."""
PYTHON = "3.11"
"""That of SUITE."""


def cache() -> Path:
    """Return the directory that keeps what takes long to make."""
    path = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "ipeql-test")
    path.mkdir(parents=True, exist_ok=True)
    return path


def missing() -> str:
    """Return why no tree can be made or booted here, or nothing."""
    for program in ("mmdebstrap", "systemd-nspawn"):
        if not shutil.which(program):
            return f"needs {program}: apt install mmdebstrap systemd-container"
    if "overlay" not in Path("/proc/filesystems").read_text():
        return "needs overlayfs"
    return ""


def debian() -> Path:
    """Return a Debian tree with what IPEQL needs, made once per list of packages."""
    tree = cache() / f"{SUITE}-{_digest(*PACKAGES)}"
    return _once(
        tree,
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        f"--include={','.join(PACKAGES)}",
        SUITE,
    )


def bare() -> Path:
    """Return a bare Debian tree, with what the package depends on in apt's cache, not installed."""
    download = "apt-get -qq --no-install-recommends --download-only install"
    return _once(
        cache() / f"{SUITE}-{_digest(*BARE, '', *NEEDED)}",
        *("mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(BARE)}"),
        "--dpkgopt=force-unsafe-io",
        f"--customize-hook=APT_CONFIG=$MMDEBSTRAP_APT_CONFIG {download} {' '.join(NEEDED)}",
        *("--skip=cleanup/apt", SUITE),
    )


def wheels() -> Path:
    """Return a directory of what pip installs with IPEQL: the tree has no network to get it by."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    system = project["project"]["optional-dependencies"]["system"]
    wanted = [
        *project["build-system"]["requires"],
        *project["project"]["dependencies"],
        *(item for item in system if not item.startswith("systemd-python")),  # Debian's
    ]
    return _once(
        cache() / f"wheels-{_digest(PYTHON, *wanted)}",
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--only-binary=:all:", f"--python-version={PYTHON}", *wanted, "--dest"),
    )


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]


def _once(path: Path, *command: str) -> Path:
    """Return ``path``, which ``command`` makes where it does not exist yet."""
    if not path.exists():
        new = path.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        subprocess.run([*command, str(new)], check=True)
        new.rename(path)
    return path


def install(tree: Path) -> None:
    """Install IPEQL into ``tree`` as a user does, with the network replaced by the wheels."""
    nspawn(tree, "/source/scripts/install")


def nspawn(tree: Path, *command: str) -> str:
    """Return the output of a command run in ``tree``, which is not booted."""
    done = subprocess.run(
        [
            *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network"),
            *(f"--bind-ro={ROOT}:/source", f"--bind-ro={wheels()}:/wheels"),
            *("--setenv=PIP_NO_INDEX=1", "--setenv=PIP_FIND_LINKS=/wheels"),
            *("--directory", str(tree), "--pipe", *command),
        ],
        check=True,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    return done.stdout
