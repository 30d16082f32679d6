"""How what came of a test in the guest becomes what comes of the test outside."""

import json

import pytest

from tests.vm.room import Room, read

Record = dict[str, object]


def record(node: str, when: str, outcome: str = "", text: str = "", *warnings: str) -> Record:
    return {"node": node, "when": when, "outcome": outcome, "text": text, "warnings": warnings}


def ended(node: str, call: str = "passed", text: str = "", *warnings: str) -> list[Record]:
    return [
        record(node, "collected"),
        record(node, "setup", "passed"),
        record(node, "call", call, text),
        record(node, "teardown", "passed", "", *warnings),
    ]


def room(*records: Record) -> Room:
    return Room("the guest's output", read("\n".join(map(json.dumps, records))))


def test_what_passed_passes() -> None:
    room(*ended("t.py::a"), *ended("t.py::ab", "failed")).check("t.py::a")


def test_a_failure_is_shown_as_it_was() -> None:
    with pytest.raises(pytest.fail.Exception, match="assert 1 == 2"):
        room(*ended("t.py::a", "failed", "assert 1 == 2")).check("t.py::a")


def test_a_skip_skips() -> None:
    with pytest.raises(pytest.skip.Exception, match="no kernel"):
        room(*ended("t.py::a", "skipped", "no kernel")).check("t.py::a")


def test_a_warning_of_the_kernel_fails() -> None:
    with pytest.raises(pytest.fail.Exception, match="BUG: sleeping"):
        room(*ended("t.py::a", "passed", "", "BUG: sleeping")).check("t.py::a")


def test_all_parameters_count() -> None:
    with pytest.raises(pytest.fail.Exception, match="second"):
        room(*ended("t.py::a[1]"), *ended("t.py::a[2]", "failed", "second")).check("t.py::a")


@pytest.mark.parametrize(
    "records",
    [
        [],
        ended("t.py::a")[:1],
        ended("t.py::a")[:3],
        [*ended("t.py::a[1]"), record("t.py::a[2]", "collected")],
    ],
    ids=["unknown", "not begun", "not torn down", "one parameter not begun"],
)
def test_what_did_not_come_to_its_end_fails(records: list[Record]) -> None:
    with pytest.raises(pytest.fail.Exception, match="the guest's output"):
        room(*records).check("t.py::a")
