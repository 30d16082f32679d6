"""The daemon's log: structured journal entries, or plain lines on stderr.

An event begins with the object it is about, e.g. ``ipeql0/eth1: no-carrier``. In the journal it
carries the fields IPEQL_BUNDLE, IPEQL_SLAVE, IPEQL_METHOD, IPEQL_REASON, IPEQL_CODE and
INTERFACE, and for a problem with a place CONFIG_FILE and CONFIG_LINE (named as systemd names them),
so that ``journalctl IPEQL_BUNDLE=ipeql0`` finds it; and a MESSAGE_ID, by which ``journalctl -x``
explains it.
"""

import logging
import os
import sys
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import cast

from ipeql.errors import Problem
from ipeql.service.message_ids import MessageId, of_problem, of_record

NOTICE = 25
"""A change of state, which belongs in the history: between INFO and WARNING."""

REPEAT_INTERVAL = 600 * 10**9
"""Nanoseconds after which an unchanged message is written again, with its count."""

FREE_REPEATS = 3
FIRST_GAP = 10**9
GAP_GROWTH = 4
"""A message that alternates with others is written so often at once, and then after so many
nanoseconds, which grow: 500 flaps of a link in 500 s write each of its messages 8 times."""

_MAX_SUBJECTS = 1024

_log = logging.getLogger("ipeql")


def set_up(level: int = logging.INFO) -> None:
    """Send everything that is logged to the journal where stderr is the journal, else to stderr."""
    logging.addLevelName(NOTICE, "NOTICE")
    handler = _journal_handler() if _stderr_is_journal() else None
    if handler is None:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("ipeqld: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)


def event(
    kind: MessageId,
    message: str,
    *,
    bundle: str = "",
    slave: str = "",
    method: str = "",
    reason: str = "",
    level: int = NOTICE,
) -> None:
    """Write a change of state of a bundle, a slave, or (neither given) the daemon.

    ``message``: without its subject, which is added. If the last message about the same object was
    equal, it is counted, not written; see ``Repeats``.
    """
    subject = "/".join(filter(None, (bundle, slave)))
    fields = {
        "MESSAGE_ID": kind.value,
        "IPEQL_BUNDLE": bundle,
        "IPEQL_SLAVE": slave,
        "IPEQL_METHOD": method,
        "IPEQL_REASON": reason,
        "INTERFACE": slave or bundle,
    }
    _write(subject, message, (bundle, slave), fields, level)


def problem(found: Problem, *, level: int = logging.ERROR) -> None:
    """Write a problem with its remedy; a repeated problem is counted, not written."""
    fields = {
        "MESSAGE_ID": of_problem(found).value,
        "IPEQL_BUNDLE": found.bundle,
        "IPEQL_CODE": found.code.value,
        "INTERFACE": found.bundle,
    }
    if found.mark:
        fields |= {"CONFIG_FILE": found.mark.file, "CONFIG_LINE": str(found.mark.line)}
    _write("", found.render(), (found.bundle, found.code, found.message), fields, level)


def _write(
    subject: str,
    message: str,
    key: tuple[str, ...],
    fields: dict[str, str],
    level: int,
) -> None:
    repeats = _repeats.count(key, message, time.monotonic_ns())
    if repeats is None:
        return
    text = f"{subject}: {message}" if subject else message
    if repeats:
        text += f" (and {repeats} times before)"
    extra = {name: value for name, value in fields.items() if value}
    _log.log(level, "%s", text, extra=extra, stacklevel=3)


@dataclass(slots=True)
class _Said:
    at: int
    times: int = 1
    repeats: int = 0

    @property
    def gap(self) -> int:
        """Return how long, in ns, the message is not written again while it alternates."""
        late = self.times - FREE_REPEATS
        return min(FIRST_GAP * GAP_GROWTH**late, REPEAT_INTERVAL) if late >= 0 else 0


class Repeats:
    """The messages already written, by subject. Bounded: the oldest is forgotten."""

    def __init__(self) -> None:
        self._said: OrderedDict[tuple[str, ...], _Said] = OrderedDict()
        self._last: dict[tuple[str, ...], str] = {}

    def count(self, key: tuple[str, ...], message: str, now: int) -> int | None:
        """Return the number of repeats that were not written if ``message`` is due now, else None.

        The last message about ``key`` is written again after ``REPEAT_INTERVAL``. A message that
        alternates with others, as of a flapping link, is written again after a gap that grows each
        time. ``now``: ns.
        """
        said = self._said.get((*key, message))
        same = self._last.get(key) == message
        self._last[key] = message
        if said and now - said.at < (REPEAT_INTERVAL if same else said.gap):
            said.repeats += 1
            return None
        recent = said and now - said.at < REPEAT_INTERVAL
        self._said[*key, message] = _Said(now, said.times + 1 if said and recent else 1)
        self._said.move_to_end((*key, message))
        if len(self._said) > _MAX_SUBJECTS:
            (*forgotten, _), _ = self._said.popitem(last=False)
            self._last.pop(tuple(forgotten), None)
        return said.repeats if said else 0


_repeats = Repeats()


def _stderr_is_journal() -> bool:
    """Compare stderr with JOURNAL_STREAM, as systemd.exec(5) says to."""
    try:
        shown = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{shown.st_dev}:{shown.st_ino}"


def _journal_handler() -> logging.Handler | None:
    try:
        from systemd.journal import JournalHandler  # noqa: PLC0415  (an optional dependency)
    except ImportError:
        return None
    handler = JournalHandler(SYSLOG_IDENTIFIER="ipeqld")
    handler.setFormatter(logging.Formatter("%(message)s"))
    handler.map_priority = _priority
    handler.addFilter(_give_kind)
    return cast(logging.Handler, handler)


def _give_kind(record: logging.LogRecord) -> bool:
    """Give a MESSAGE_ID to messages of other modules."""
    record.__dict__.setdefault("MESSAGE_ID", of_record(record).value)
    return True


def _priority(level: int) -> int:
    """Map a logging level to syslog(3)'s, NOTICE included."""
    steps = ((logging.DEBUG, 7), (logging.INFO, 6), (NOTICE, 5), (logging.WARNING, 4))
    return next((priority for top, priority in steps if level <= top), 3)
