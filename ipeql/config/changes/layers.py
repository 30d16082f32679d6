"""The configuration in force: the content of the files, and the transient changes over it.

The files alone decide whether a reload is refused; a transient change that does not fit them is
kept without effect (``overlay``). Transient changes are kept in RUNTIME_DIRECTORY: they stay when
the daemon ends, and end when the machine restarts, like all of /run.
"""

import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ipeql import runtime
from ipeql.config.changes.change import parse_change, to_data, without
from ipeql.config.changes.hidden import hidden
from ipeql.config.changes.overlay import Located, overlay, revised
from ipeql.config.load import examine, load
from ipeql.config.schema.model import Change
from ipeql.config.yaml.files import find_files, near_misses, read_text
from ipeql.errors import (
    Code,
    ConfigError,
    IpeqlError,
    NotFoundError,
    NotPermittedError,
    Problem,
    no_such_bundle,
)
from ipeql.names import shown_path
from ipeql.state import DesiredState

FILE_NAME = "transient.json"
VERSION = 1

_log = logging.getLogger(__name__)


class Layers:
    """``desired``: the files of ``directories``, and over them the transient changes.

    Empty until ``load``. ``runtime`` is RUNTIME_DIRECTORY. The problems of ``desired`` need no
    correction: files that are not read but probably meant to be, changes without effect.
    """

    def __init__(self, directories: Sequence[Path], runtime: Path) -> None:
        self.directories = directories
        self._path = runtime / FILE_NAME
        self._files = DesiredState({})
        self._digests: dict[Path, bytes] = {}
        self._transient = _read(self._path, directories)
        self.desired = DesiredState({})

    def read(self) -> DesiredState:
        """Return what ``load`` would put in force; ConfigError."""
        return self._over(self._read_files())

    def load(self) -> None:
        """Put the present files in force; ConfigError: the earlier ones stay in force."""
        digests = self._digests_now()
        before, files = self._files, self._read_files()
        self._digests = digests
        self._files = replace(files, generation=before.generation + 1)
        desired = self._over(self._files)
        remarks = hidden(before, files, desired)
        self.desired = replace(desired, problems=(*desired.problems, *remarks))

    def _read_files(self) -> DesiredState:
        return with_remarks(load(find_files(self.directories)), self.directories)

    def start(self) -> tuple[Problem, ...]:
        """Put the files without a mistake in force, and return the mistakes of the others.

        For the start, when no earlier ones are in force. ConfigError: no good file has a bundle.
        """
        self._digests = self._digests_now()
        found = examine(find_files(self.directories))
        if found.problems and not found.desired.bundles:
            raise ConfigError(found.problems)
        files = with_remarks(found.desired, self.directories)
        self._files = replace(files, generation=self._files.generation + 1)
        self.desired = self._over(self._files)
        return found.problems

    def changed_files(self) -> list[str]:
        """Return the files that have changed since they were put in force, sorted.

        Also new and removed files.
        """
        now = self._digests_now()
        paths = now.keys() | self._digests.keys()
        return sorted(
            shown_path(path) for path in paths if now.get(path) != self._digests.get(path)
        )

    def change(self, change: Change) -> None:
        """Put a transient change in force; IpeqlError: it does not fit, or cannot be kept."""
        self._keep(revised(self._files, self._transient, change))

    def adopt(self, change: Change) -> None:
        """Load the files, which contain ``change`` now; it is no longer transient."""
        self.load()
        self._keep(without(self._transient, change))

    def revert(self, bundle: str = "") -> None:
        """Remove all transient changes, or those of one bundle; NotFoundError: no such bundle."""
        rest = [change for change in self._transient if bundle not in ("", change.bundle)]
        if bundle not in ("", *self.desired.bundles) and len(rest) == len(self._transient):
            raise NotFoundError(no_such_bundle(bundle, self.desired.bundles))
        self._keep(rest)

    def _digests_now(self) -> dict[Path, bytes]:
        try:
            return {path: _digest(path) for path in find_files(self.directories)}
        except ConfigError:  # loading says why
            return {}

    def _over(self, files: DesiredState) -> DesiredState:
        return overlay(files, map(Located, self._transient))

    def _keep(self, changes: Iterable[Change]) -> None:
        transient = tuple(changes)
        if transient != self._transient:
            _write(self._path, self.directories, transient)
            self._transient = transient
        self.desired = self._over(self._files)


def _digest(path: Path) -> bytes:
    try:
        return hashlib.sha256(read_text(path).encode()).digest()
    except ConfigError:
        return b""


def with_remarks(files: DesiredState, directories: Sequence[Path]) -> DesiredState:
    """Return what was loaded, with the near misses of ``directories`` among its problems."""
    return replace(files, problems=(*files.problems, *near_misses(directories)))


def _read(path: Path, directories: Sequence[Path]) -> tuple[Change, ...]:
    """Return the changes in ``path``; if it cannot be used, that is logged.

    Changes that were made over the files of other directories are ignored.
    """
    try:
        kept = runtime.read(path, VERSION) or {"changes": []}
        if kept["changes"] and kept["directories"] != _named(directories):
            return ()
        return tuple(parse_change(data) for data in kept["changes"])
    except (OSError, ValueError, KeyError, TypeError, IpeqlError) as error:
        _log.warning("the transient changes are lost: %s cannot be used: %s", path, error)
        return ()


def _named(directories: Sequence[Path]) -> list[str]:
    return [str(each.resolve()) for each in directories]


def _write(path: Path, directories: Sequence[Path], changes: Iterable[Change]) -> None:
    kept = {"directories": _named(directories), "changes": [to_data(each) for each in changes]}
    try:
        runtime.write(path, VERSION, kept)
    except OSError as error:
        message = f"cannot keep the change in {path}: {error.strerror or error}"
        advice = "make room there, or let ipeqld write there"
        raise NotPermittedError(Problem(Code.NOT_PERMITTED, message, advice)) from error
