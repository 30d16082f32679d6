"""What is written down, and how often."""

import importlib
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ipeql.documents.transitions import transitions
from ipeql.errors import Code, Mark, Problem
from ipeql.service import journal
from ipeql.service.journal import REPEAT_INTERVAL, Repeats
from ipeql.service.message_ids import _LOGGERS, MessageId, of_problem, of_record, of_transition

ROOT = Path(journal.__file__).parents[2]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(journal, "_repeats", Repeats())
    caplog.set_level(logging.INFO, "ipeql")


def test_an_event_starts_with_its_object_and_carries_fields(
    caplog: pytest.LogCaptureFixture,
) -> None:
    journal.event(
        MessageId.SLAVE_INACTIVE,
        "no-carrier, 1 of 2 usable",
        bundle="ipeql0",
        slave="eth1",
        method="bw_load",
        reason="no-carrier",
    )
    (record,) = caplog.records
    assert record.getMessage() == "ipeql0/eth1: no-carrier, 1 of 2 usable"
    fields = {key: value for key, value in vars(record).items() if key.isupper()}
    assert fields == {
        "MESSAGE_ID": MessageId.SLAVE_INACTIVE,
        "IPEQL_BUNDLE": "ipeql0",
        "IPEQL_SLAVE": "eth1",
        "IPEQL_METHOD": "bw_load",
        "IPEQL_REASON": "no-carrier",
        "INTERFACE": "eth1",
    }


def test_a_problem_carries_its_place(caplog: pytest.LogCaptureFixture) -> None:
    mark = Mark("/etc/ipeql/a.yaml", 12, 9)
    journal.problem(Problem(Code.BAD_VALUE, "wrong", "right it", mark))
    (record,) = caplog.records
    assert record.getMessage() == (
        "/etc/ipeql/a.yaml:12:9: error: wrong [IPQ-C014]\n  help: right it"
    )
    fields = {key: value for key, value in vars(record).items() if key.isupper()}
    assert fields == {
        "MESSAGE_ID": MessageId.CONFIG_INVALID,
        "IPEQL_CODE": "IPQ-C014",
        "CONFIG_FILE": "/etc/ipeql/a.yaml",
        "CONFIG_LINE": "12",
    }


AGAIN = "ipeql0/eth1: down (and 2 times before)"


def test_a_repeat_is_counted_and_a_change_is_always_written(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for message in ("down", "down", "down", "active", "down"):
        journal.event(MessageId.SLAVE_INACTIVE, message, bundle="ipeql0", slave="eth1")
        journal.event(MessageId.SLAVE_INACTIVE, message, bundle="ipeql0", slave="eth2")
    said = [record.getMessage() for record in caplog.records]
    assert said[::2] == ["ipeql0/eth1: down", "ipeql0/eth1: active", AGAIN]
    assert len(said) == 6


def test_two_problems_in_turn_are_each_written_once(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(5):
        journal.problem(Problem(Code.SPEED_UNKNOWN, "eth1", bundle="ipeql0"))
        journal.problem(Problem(Code.SPEED_UNKNOWN, "eth2", bundle="ipeql0"))
    assert len(caplog.records) == 2


def test_what_lasts_is_written_again_with_its_count() -> None:
    repeats = Repeats()
    said = [repeats.count(("x",), "down", minute * 60 * 10**9) for minute in range(11)]
    assert said == [0, *[None] * 9, 9]
    assert repeats.count(("x",), "up", REPEAT_INTERVAL * 2) == 0


def test_the_memory_of_what_was_said_is_bounded() -> None:
    repeats = Repeats()
    for number in range(5000):
        repeats.count((str(number),), "down", number)
    assert repeats.count(("0",), "down", 5000) == 0
    assert repeats.count(("4999",), "down", 5000) is None


LOG_ONE = (
    "import sys; sys.path.insert(0, sys.argv[1]); from ipeql.service import journal;"
    "from ipeql.service.message_ids import MessageId; journal.set_up();"
    "journal.event(MessageId.BUNDLE_READY, 'ready', bundle='ipeql0')"
)


def test_five_hundred_flaps_are_a_handful_of_lines() -> None:
    repeats = Repeats()
    messages = ("no-carrier", "hold-off", "active")
    said = [
        repeats.count(("ipeql0", "eth1"), message, second * 10**9)
        for second in range(500)
        for message in messages
    ]
    written = [count for count in said if count is not None]
    assert len(written) <= 8 * len(messages)
    assert sum(written) + len(written) > 500  # the swallowed ones are told with the next
    assert all(count is not None for count in said[:9])


def test_plain_lines_on_stderr_outside_the_journal() -> None:
    environment = os.environ | {"JOURNAL_STREAM": "1:2"}
    done = subprocess.run(
        [sys.executable, "-c", LOG_ONE, str(ROOT)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == "ipeqld: ipeql0: ready\n"
    assert done.stdout == ""


def test_the_journal_handler_where_stderr_is_the_journal(tmp_path: Path) -> None:
    pytest.importorskip("systemd.journal", reason="systemd-python is not installed")
    check = (
        "import os, sys; s = os.fstat(2); os.environ['JOURNAL_STREAM'] = f'{s.st_dev}:{s.st_ino}';"
        "import systemd.journal; sent = []; real = systemd.journal.JournalHandler.__init__;"
        "systemd.journal.JournalHandler.__init__ = lambda self, **kw:"
        " real(self, sender_function=lambda text, **f: sent.append((text, f)), **kw);"
        f"{LOG_ONE}; ((text, f),) = sent;"
        "print(text, f['PRIORITY'], f['IPEQL_BUNDLE'], f['SYSLOG_IDENTIFIER'], f['MESSAGE_ID'])"
    )
    with (tmp_path / "stderr").open("wb") as stderr:
        done = subprocess.run(
            [sys.executable, "-c", check, str(ROOT)],
            stderr=stderr,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    assert done.stdout == f"ipeql0: ready 5 ipeql0 ipeqld {MessageId.BUNDLE_READY}\n"
    assert (tmp_path / "stderr").read_bytes() == b""


@pytest.mark.parametrize("code", Code)
def test_every_problem_has_a_kind(code: Code) -> None:
    assert of_problem(Problem(code, "")) in MessageId


def test_a_problem_is_explained_to_the_one_who_acts() -> None:
    assert of_problem(Problem(Code.UNKNOWN_KEY, "")) == MessageId.CONFIG_INVALID
    assert of_problem(Problem(Code.NAME_TAKEN, "")) == MessageId.MACHINE_REFUSES
    assert of_problem(Problem(Code.UNDO_FAILED, "")) == MessageId.UNDO_FAILED
    assert of_problem(Problem(Code.INTERNAL, "")) == MessageId.INTERNAL


def test_a_change_of_state_has_its_kind() -> None:
    slave = {"name": "eth1", "state": "no-carrier", "reason": ""}
    bundle = {"name": "ipeql0", "state": "down", "reason": "", "slaves": [slave]}
    lost, down = transitions({}, {"bundles": [bundle]})
    freed, removed = transitions({"bundles": [bundle]}, {})
    assert of_transition(lost) == MessageId.SLAVE_INACTIVE
    assert of_transition(down) == MessageId.BUNDLE_DOWN
    assert of_transition(freed) == MessageId.SLAVE_FREED
    assert of_transition(removed) == MessageId.BUNDLE_REMOVED


def test_a_path_that_is_down_and_back_has_kinds_of_its_own() -> None:
    def shown(state: str, standing: str) -> dict[str, object]:
        slave = {"name": "eth1", "state": state, "reason": "", "path": {"standing": standing}}
        return {"bundles": [{"name": "b", "state": "ready", "reason": "", "slaves": [slave]}]}

    up, suspended, down = (
        shown("active", "up"),
        shown("active", "suspended"),
        shown("path-down", "down"),
    )
    assert transitions(up, suspended) == transitions(suspended, up) == []
    assert [of_transition(each) for each in transitions(suspended, down)] == [MessageId.PATH_DOWN]
    assert [of_transition(each) for each in transitions(down, up)] == [MessageId.PATH_BACK]


@pytest.mark.parametrize("name", _LOGGERS)
def test_what_other_modules_log_has_its_kind(name: str) -> None:
    if ".dbus." in name:
        pytest.importorskip("dbus_next", reason="dbus-next is not installed")
    logger = vars(importlib.import_module(name))["_log"]
    remark = logger.makeRecord(logger.name, logging.WARNING, "", 0, "", (), None)
    fault = logger.makeRecord(logger.name, logging.ERROR, "", 0, "", (), None)
    assert of_record(remark) == _LOGGERS[name]
    assert of_record(fault) == MessageId.INTERNAL


def catalog() -> dict[str, str]:
    entries = (ROOT / "systemd/ipeql.catalog").read_text().split("\n-- ")[1:]
    return {entry[:32]: entry[32:] for entry in entries}


def test_the_catalog_explains_every_kind_and_nothing_else() -> None:
    assert catalog().keys() == {kind.value for kind in MessageId}


def test_every_entry_of_the_catalog_has_what_a_reader_needs() -> None:
    for entry in catalog().values():
        header, _, text = entry.strip().partition("\n\n")
        subject, *fields = header.splitlines()
        assert subject.startswith("Subject: ")
        assert fields == ["Defined-By: IPEQL", "Documentation: man:ipeqld(8)"]
        assert text
        assert all(len(line) <= 76 for line in text.splitlines())
