"""Which files are read, and their text."""

import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from ipeql.config.yaml.wording import printable
from ipeql.errors import Code, ConfigError, Mark, Problem
from ipeql.names import shown_path

SEARCH_PATH = (Path("/etc/ipeql"), Path("/run/ipeql"), Path("/usr/lib/ipeql"))
"""The administrator's directory, the running system's, the distribution's, by precedence."""

MAX_SIZE = 1 << 20
"""Bytes in one file; a thousand bundles fit."""


def find_files(directories: Iterable[Path]) -> list[Path]:
    """Return the ``*.yaml`` of ``directories``, sorted by file name.

    A file hides files of its name in later directories. A file that is empty or a link to /dev/null
    defines nothing. Hidden files and absent directories are skipped. ConfigError: a directory that
    cannot be listed. Source of the rules: systemd.unit(5), drop-ins.
    """
    found: dict[str, Path] = {}
    problems = []
    for directory in directories:
        try:
            files = list(directory.iterdir())
        except FileNotFoundError:
            continue
        except OSError as error:
            problems.append(_unreadable(directory, _reason(error)))
            continue
        for file in files:
            if file.name.endswith(".yaml") and not file.name.startswith("."):
                found.setdefault(file.name, file)
    if problems:
        raise ConfigError(problems)
    return [found[name] for name in sorted(found) if not _only_masks(found[name])]


def near_misses(directories: Iterable[Path]) -> list[Problem]:
    """Return a remark on every file that is not read, but was probably meant to be.

    ``home.yml``, ``home.YAML``, ``home.yaml.txt``. Hidden files and backup files of
    editors are not meant.
    """
    remarks = []
    for directory in directories:
        with contextlib.suppress(OSError):
            for file in sorted(directory.iterdir()):
                name, lower = file.name, file.name.lower()
                if name.endswith(".yaml") or name.startswith("."):
                    continue
                if lower.endswith((".yml", ".yaml", ".yaml.txt", ".yml.txt")):
                    meant = name[: lower.rindex(".y")] + ".yaml"
                    message = f"{shown_path(file)} is not read"
                    remarks.append(
                        Problem(Code.NOT_READ, message, f"rename it to {printable(meant)}")
                    )
    return remarks


def _only_masks(path: Path) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    if stat.S_ISCHR(status.st_mode):
        return status.st_rdev == Path(os.devnull).stat().st_rdev
    return stat.S_ISREG(status.st_mode) and status.st_size == 0


def read_text(path: Path) -> str:
    """Return the text of ``path``; ConfigError: unreadable, over MAX_SIZE, or not UTF-8."""
    try:
        # O_NONBLOCK: a FIFO without a writer must not block the reader.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ConfigError(_unreadable(path, "not a regular file"))
            content = os.read(descriptor, MAX_SIZE + 1)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        raise ConfigError(_unreadable(path, _reason(error))) from None
    if len(content) > MAX_SIZE:
        message = "larger than 1 MiB"
        advice = "if it is a configuration file, divide its bundles among several files"
        raise ConfigError(Problem(Code.TOO_LARGE, message, advice, Mark(shown_path(path), 1, 1)))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig", "replace")
        line = before.count("\n") + 1
        column = len(before) - before.rfind("\n")
        message = f"not UTF-8 text: byte 0x{content[error.start]:02x}"
        advice = "save the file as UTF-8"
        raise ConfigError(
            Problem(Code.NOT_YAML, message, advice, Mark(shown_path(path), line, column))
        ) from None


def _reason(error: OSError | ValueError) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)


def _unreadable(path: Path, reason: str) -> Problem:
    advice = "give ipeql permission to read it, or remove it"
    if path.is_symlink() and not path.exists():
        reason = f"link to {shown_path(path.readlink())}, which does not exist"
        advice = "restore what it points to, or remove the link; a link to /dev/null hides a file"
    elif reason == "not a regular file":
        advice = "remove or rename it; the files read are *.yaml"
    elif not path.exists():
        advice = "check the name"
    return Problem(Code.UNREADABLE, f"cannot read: {reason}", advice, Mark(shown_path(path), 1, 1))
