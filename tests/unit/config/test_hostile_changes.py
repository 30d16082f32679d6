"""A change from outside is anything that JSON can say: it is taken, or refused with a Problem."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipeql.config import parse_change
from ipeql.config.changes.change import in_words, slave_label
from ipeql.errors import Code, ConfigError

TEXT = st.one_of(
    st.text(max_size=20),
    st.text(st.characters(categories=["Cs", "Cc", "Lu"]), max_size=3),
    st.sampled_from(["ipeql0", "eth1", "auto", "5ms", "100Mbit", "bw_load", "wwan*", "packets"]),
)
KEYS = st.one_of(
    TEXT,
    st.sampled_from(
        [
            "bundle",
            "enslave",
            "free",
            "set",
            "set-slave",
            "name",
            "match",
            "mac",
            "driver",
            "bandwidth",
            "lag",
            "overhead",
            "via",
            "via6",
            "up",
            "method",
            "mtu",
            "count",
        ]
    ),
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)
CHANGES = st.fixed_dictionaries(
    {"bundle": TEXT}, optional=dict.fromkeys(("enslave", "free", "set", "set-slave"), ANYTHING)
)


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
