"""The kinds of journal entries: each has an entry in systemd/ipeql.catalog, for journalctl -x.

The ids were drawn with ``systemd-id128 new`` and never change their meaning.
"""

import enum
from collections.abc import Mapping
from logging import ERROR, LogRecord
from typing import Any

from ipeql.errors import Code, Problem


class MessageId(enum.StrEnum):
    """MESSAGE_ID of systemd.journal-fields(7)."""

    CONFIG_LOADED = "8a5f83ec669440cbbf39df92214972e5"
    CONFIG_CHANGED = "47d531b70b484675894c1bcc9bd4e6ec"
    CHANGE_WITHOUT_EFFECT = "19eaeddaab8444adb8ce0daf02736959"
    CONFIG_INVALID = "c4f59076d2ac436288886e425fac211e"
    APPLIED = "23ee669321e5433ab13b4ffd94c3f40e"
    APPLY_FAILED = "4459f840430c43618f3d4065c4263500"
    NOT_IN_SYNC = "1580694530f54700bdc990766e4dc454"
    UNDO_FAILED = "709cd92e5b604649ae4f5f6a2a26c611"
    BACKEND_LOST = "552c31c74bb94204bf07c33fa254df44"
    MACHINE_REFUSES = "3f2d862359704c01aa4c52507c085554"
    INTERNAL = "0f1858428c794b61a42b905fe8c4851d"
    EVENTS_LOST = "9481878bee674353a59bf30e8ce523c0"
    SETTINGS_NOT_KEPT = "c4f4872f1e7849ebaf5ddaba4e3ebd6e"
    CHANGES_LOST = "c9811f1024504c60b86b6ea727833d36"
    BUS = "d8d45c4129b4412d9f2acd8a762b9bd5"
    AUTHORISATION = "cea2d6eda85240578f1233bb6741a9ed"
    SLAVE_ACTIVE = "9349bc8b798640f0804a253ecc16aa18"
    SLAVE_INACTIVE = "4508fbf44ecf4932accbb7fe2a6b8b87"
    SLAVE_ABSENT = "e48c6b3258cd46ee882f3cda5cdc43f5"
    SLAVE_FREED = "40fb5e029f3945958ab7e9071e6dbc87"
    PATH_DOWN = "f5af89553cb441a293f6975e17c39453"
    PATH_BACK = "abcce74fe09f43aa95a25adb2f8f19a0"
    BUNDLE_READY = "899062cf500b48c38be84050900f87ff"
    BUNDLE_DEGRADED = "760beaeedb71431ead98870c0aa067ad"
    BUNDLE_DOWN = "eccaeb604c56425b9f772c6bc2c39d62"
    BUNDLE_FAILED = "33c3496bb25b40708e73aa7c24184c34"
    BUNDLE_REMOVED = "48efb55dbc2c4b68b514baf1b4fb0839"


_SLAVES = {
    "active": MessageId.SLAVE_ACTIVE,
    "absent": MessageId.SLAVE_ABSENT,
    "path-down": MessageId.PATH_DOWN,
    "": MessageId.SLAVE_FREED,
}

_BUNDLES = {
    "ready": MessageId.BUNDLE_READY,
    "degraded": MessageId.BUNDLE_DEGRADED,
    "down": MessageId.BUNDLE_DOWN,
    "failed": MessageId.BUNDLE_FAILED,
    "": MessageId.BUNDLE_REMOVED,
}

_PROBLEMS = {
    Code.WITHOUT_EFFECT: MessageId.CHANGE_WITHOUT_EFFECT,
    Code.APPLY_FAILED: MessageId.APPLY_FAILED,
    Code.NOT_IN_SYNC: MessageId.NOT_IN_SYNC,
    Code.UNDO_FAILED: MessageId.UNDO_FAILED,
    Code.BACKEND_LOST: MessageId.BACKEND_LOST,
}

_LETTERS = {"C": MessageId.CONFIG_INVALID, "E": MessageId.MACHINE_REFUSES}
"""By the letter of a code, which says who has to act; see ``ipeql.errors``."""

_LOGGERS = {
    "ipeql.observe.watcher": MessageId.EVENTS_LOST,
    "ipeql.apply.slaves": MessageId.SETTINGS_NOT_KEPT,
    "ipeql.config.changes.layers": MessageId.CHANGES_LOST,
    "ipeql.api.dbus.service": MessageId.BUS,
    "ipeql.api.dbus.auth": MessageId.AUTHORISATION,
}


def of_transition(change: Mapping[str, Any]) -> MessageId:
    """Return the kind of an event of ``ipeql.documents.transitions``."""
    if change["event"] == "bundle":
        return _BUNDLES[change["new"]]
    if (change["old"], change["new"]) == ("path-down", "active"):
        return MessageId.PATH_BACK
    return _SLAVES.get(change["new"], MessageId.SLAVE_INACTIVE)


def of_problem(problem: Problem) -> MessageId:
    """Return the kind of a problem."""
    letter = problem.code.removeprefix("IPQ-")[0]
    return _PROBLEMS.get(problem.code) or _LETTERS.get(letter, MessageId.INTERNAL)


def of_record(record: LogRecord) -> MessageId:
    """Return the kind of a message that a module has logged."""
    if record.levelno >= ERROR:
        return MessageId.INTERNAL
    return _LOGGERS.get(record.name, MessageId.INTERNAL)
