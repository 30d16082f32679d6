"""A change from outside is anything that JSON can say: it is taken, or refused with a Problem."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipeql.config import parse_change
from ipeql.config.changes.change import in_words, slave_label
from ipeql.errors import Code, ConfigError
from tests.unit.hostile import ANYTHING, CHANGES


@given(st.one_of(ANYTHING, CHANGES))
def test_nothing_that_a_caller_sends_raises(data: object) -> None:
    try:
        change = parse_change(data)
    except ConfigError as error:
        for problem in error.problems:
            problem.render().encode()
        return
    in_words(change).encode()


@pytest.mark.parametrize("data", ["\ud800", {"bundle": "\udcff", "free": "eth1"}, ["\udfff"]])
def test_lone_surrogates_are_no_text(data: object) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_change(data)
    assert [problem.code for problem in refused.value.problems] == [Code.BAD_VALUE]


def test_two_matches_are_called_differently() -> None:
    labels = set()
    for match in ({"name": "w*", "driver": "a"}, {"name": "w*", "driver": "b"}, {"name": "w*"}):
        with contextlib.suppress(ConfigError):
            slave = parse_change({"bundle": "ipeql0", "enslave": {"match": match}}).enslave
            assert slave
            labels.add(slave_label(slave))
    assert labels == {"w*,a", "w*,b", "w*"}
