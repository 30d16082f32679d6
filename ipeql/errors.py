"""Faults as values: a code, a sentence, a remedy and, for configuration, the position in a file.

Every fault that IPEQL reports to a person is a :class:`Problem`. Exceptions only carry problems
from the code that finds them to the code that shows them. The text form is never parsed. Codes are
part of the interface: they are never reused. The letter names who acts: ``C`` the author of the
configuration, ``E`` the administrator of the machine, ``A`` nobody yet (IPEQL retries or rolled
back), ``D`` the caller of a command.
"""

import enum
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self


class ExitCode(enum.IntEnum):
    """Exit statuses of every IPEQL command."""

    OK = 0
    ERROR = 1
    USAGE = 2
    DOWN = 3
    CONFIG_INVALID = 4
    APPLY_FAILED = 5
    NOT_AUTHORISED = 7
    NOT_RUNNING = 8
    NOT_FOUND = 9
    CHANGES = 10


class DaemonExit(enum.IntEnum):
    """Exit statuses of ``ipeqld``.

    systemd prints names for statuses. For 4 and 5 these would be wrong here (NOPERMISSION,
    NOTINSTALLED). Its names for the statuses of sysexits.h are right: systemd.exec(5).
    """

    OK = 0
    ERROR = 1
    USAGE = 2
    CONFIG_INVALID = 78


class Code(enum.StrEnum):
    """The code of every problem IPEQL reports."""

    UNREADABLE = "IPQ-C001"
    NOT_YAML = "IPQ-C002"
    TOO_LARGE = "IPQ-C003"
    DUPLICATE_KEY = "IPQ-C010"
    UNKNOWN_KEY = "IPQ-C011"
    MISSING_KEY = "IPQ-C012"
    WRONG_TYPE = "IPQ-C013"
    BAD_VALUE = "IPQ-C014"
    YAML_SURPRISE = "IPQ-C015"
    METHOD_NEEDS = "IPQ-C020"
    DUPLICATE_BUNDLE = "IPQ-C021"
    SLAVE_IN_TWO = "IPQ-C022"
    SLAVE_IS_BUNDLE = "IPQ-C023"
    WITHOUT_EFFECT = "IPQ-C024"
    NOT_READ = "IPQ-C025"
    HIDDEN = "IPQ-C026"
    MANY = "IPQ-C027"
    USE_NEEDS = "IPQ-C028"
    NAME_TAKEN = "IPQ-E001"
    NO_BACKEND = "IPQ-E002"
    NOT_PERMITTED = "IPQ-E003"
    SPEED_UNKNOWN = "IPQ-E004"
    ALREADY_RUNNING = "IPQ-E005"
    TOO_MANY_SLAVES = "IPQ-E006"
    NO_EMULATION = "IPQ-E007"
    FILTER_EVERYWHERE = "IPQ-E008"
    ARP_IGNORED = "IPQ-E009"
    SUBNET_SHADOWED = "IPQ-E010"
    COMES_BACK = "IPQ-E011"
    NEXT_HOP_MISSING = "IPQ-E012"
    IS_PORT = "IPQ-E013"
    FILTER_REFUSED = "IPQ-E014"
    NO_KEY = "IPQ-E015"
    PORT_TAKEN = "IPQ-E016"
    NO_METRICS = "IPQ-E017"
    METRICS_CLIENT = "IPQ-E018"
    NOT_OVER = "IPQ-E019"
    UPLINK_FILTER = "IPQ-E020"
    APPLY_FAILED = "IPQ-A001"
    NOT_IN_SYNC = "IPQ-A002"
    UNDO_FAILED = "IPQ-A003"
    BACKEND_LOST = "IPQ-A004"
    INTERNAL = "IPQ-A005"
    NOT_RUNNING = "IPQ-D001"
    NO_SUCH_BUNDLE = "IPQ-D002"
    TIMED_OUT = "IPQ-D003"
    BAD_REQUEST = "IPQ-D004"
    NO_SUCH_SLAVE = "IPQ-D005"
    TOO_MANY_REQUESTS = "IPQ-D006"
    AMBIGUOUS_SLAVE = "IPQ-D007"
    NO_PROBE = "IPQ-D008"
    CANNOT_DRAW = "IPQ-D009"
    CANNOT_WRITE = "IPQ-D010"
    NO_PROGRAM = "IPQ-D011"


@dataclass(frozen=True, slots=True)
class Mark:
    """A position in a file. ``line`` and ``column`` count from 1; ``width`` is in characters."""

    file: str
    line: int
    column: int
    source: str = ""
    width: int = 1

    def __str__(self) -> str:
        """Return ``FILE:LINE:COL``, the form editors jump to."""
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault: what was found and expected (``message``), and the remedy (``help``).

    ``bundle``: the bundle that has the fault, if it is only one; ``message`` then begins with its
    name.
    """

    code: Code
    message: str
    help: str = ""
    mark: Mark | None = None
    bundle: str = ""

    def render(self) -> str:
        """Return the text for a terminal or log: header, source line with caret, help."""
        place = f"{self.mark}: " if self.mark else "ipeql: "
        lines = [f"{place}error: {self.message} [{self.code}]"]
        if self.mark and self.mark.source:
            gutter = f"{self.mark.line:5d} | "
            lines.append(gutter + self.mark.source)
            caret = "^" * max(1, self.mark.width)
            lines.append(" " * (len(gutter) - 2) + "| " + " " * (self.mark.column - 1) + caret)
        if self.help:
            lines.append(f"  help: {self.help}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, str | int]:
        """Return the problem as a flat JSON object, with a position only if it has one."""
        shown: dict[str, str | int] = {
            "code": self.code.value,
            "message": self.message,
            "help": self.help,
            "bundle": self.bundle,
        }
        if self.mark:
            shown |= {"file": self.mark.file, "line": self.mark.line, "column": self.mark.column}
            shown |= {"source": self.mark.source, "width": self.mark.width}
        return shown

    @classmethod
    def from_json(cls, shown: Mapping[str, Any]) -> Self:
        """Return the problem that ``to_json`` wrote; KeyError or ValueError: it did not."""
        mark = None
        if "file" in shown:
            mark = Mark(*(shown[key] for key in ("file", "line", "column", "source", "width")))
        return cls(Code(shown["code"]), shown["message"], shown["help"], mark, shown["bundle"])


SHOWN_NAMES = 20
"""Of many names a person is told so many."""


def no_such_bundle(name: str, known: Iterable[str]) -> Problem:
    """Return the problem that no bundle is called ``name``."""
    names = sorted(known)
    there = ", ".join(names[:SHOWN_NAMES])
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    help = f"there is {there}{more}" if there else "none is configured"
    return Problem(Code.NO_SUCH_BUNDLE, f"no bundle is called {name!r}", help)


def internal(error: Exception, doing: str, bundle: str = "") -> Problem:
    """Return the problem that IPEQL itself has a fault, with the place in its source.

    ``doing``: what it was about. It is retried like every other problem.
    """
    trace = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(trace[-1].filename).name}:{trace[-1].lineno}" if trace else ""
    subject = f"{bundle}: " if bundle else ""
    message = f"{subject}internal error while {doing}: {error!r}{place}"
    return Problem(Code.INTERNAL, message, "report it; IPEQL tries again", bundle=bundle)


class IpeqlError(Exception):
    """One or more problems on their way to where they are shown.

    ``exit_code`` is the status of a command that ends with this error.
    """

    exit_code = ExitCode.ERROR

    def __init__(self, problems: Iterable[Problem] | Problem) -> None:
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(problem.render() for problem in self.problems))


class ConfigError(IpeqlError):
    """The author of the configuration has to edit it; nothing was changed."""

    exit_code = ExitCode.CONFIG_INVALID


class ApplyError(IpeqlError):
    """The machine refused a change. Retrying may help."""

    exit_code = ExitCode.APPLY_FAILED


class NotRunningError(IpeqlError):
    """No daemon answers."""

    exit_code = ExitCode.NOT_RUNNING


class NotFoundError(IpeqlError):
    """No such bundle or slave."""

    exit_code = ExitCode.NOT_FOUND


class NotPermittedError(IpeqlError):
    """The caller lacks the privilege."""

    exit_code = ExitCode.NOT_AUTHORISED
