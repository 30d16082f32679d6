"""The file that ``--save`` writes: changes, in a configuration file of their own."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from ipeql.config.changes.change import to_data
from ipeql.config.changes.overlay import revised
from ipeql.config.load import load
from ipeql.config.schema.model import Change, File
from ipeql.config.schema.values import VERSION
from ipeql.config.yaml.files import find_files, read_text
from ipeql.config.yaml.reader import YamlFile
from ipeql.errors import Code, ConfigError, Mark, NotPermittedError, Problem
from ipeql.names import shown_path

FILE_NAME = "saved.yaml"

HEADER = "# ipeql --save writes this file anew each time: keep what is yours in other files.\n"


def save(directories: Sequence[Path], change: Change) -> Path:
    """Add ``change`` to the saved ones in the first of ``directories``; return their file.

    IpeqlError, with nothing written: the files have errors, the change does not fit them, or the
    file cannot be written or is somebody else's.
    """
    path = directories[0] / FILE_NAME
    others = load(file for file in find_files(directories) if file.name != FILE_NAME)
    try:
        _write(path, revised(others, _read(path), change))
    except OSError as error:
        message = f"cannot write {path}: {error.strerror or error}"
        raise NotPermittedError(
            Problem(Code.NOT_PERMITTED, message, "run the command as root")
        ) from error
    return path


def _read(path: Path) -> Sequence[Change]:
    if not path.exists():
        return ()
    text = read_text(path)
    if not text.startswith(HEADER):
        message = "this file was not written by --save"
        advice = "rename it; --save needs this name"
        raise ConfigError(
            Problem(Code.NOT_PERMITTED, message, advice, Mark(shown_path(path), 1, 1))
        )
    load([path])
    return File.model_validate(YamlFile(shown_path(path), text).data).changes


def _write(path: Path, changes: Iterable[Change]) -> None:
    lines = [f"  - {_flow(change)}\n" for change in changes]
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}")
    new.write_text(
        "".join((HEADER, f"version: {VERSION}\n", "changes:\n" if lines else "", *lines))
    )
    new.chmod(0o644)
    new.replace(path)


def _flow(change: Change) -> str:
    text: str = yaml.safe_dump(
        to_data(change), default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6
    )
    return text.strip()
