"""What a person calls a slave: one word, one entry."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipeql.config import parse_change
from ipeql.config.changes.naming import by_label, entry_called
from ipeql.errors import Code, IpeqlError, NotFoundError
from ipeql.state import BundleSpec, Link, LinkMatch, SlaveSpec

WORDS = st.text(st.sampled_from("ab,:*?[\\\\"), max_size=5) | st.sampled_from(
    ["name:a", "driver:b", "a,b", "w*,b", "02:00:5e:10:00:01", "a\\\\,b"]
)
MATCHES = st.builds(
    LinkMatch, name=WORDS, mac=st.sampled_from(["", "02:00:5e:10:00:01"]), driver=WORDS
).filter(lambda match: match != LinkMatch())
LINKS = (Link(1, "eth1", altnames=("enp1s0", "uplink")), Link(2, "wwan0", altnames=("lte",)))


def bundle(*slaves: SlaveSpec) -> BundleSpec:
    return BundleSpec("ipeql0", "round_robin", slaves)


def match(**fields: str) -> SlaveSpec:
    return SlaveSpec(match=LinkMatch(**fields))


SPEC = bundle(
    SlaveSpec("enp1s0"),
    match(name="w*", driver="a"),
    match(name="w*", driver="b"),
    match(driver="veth"),
)


@given(MATCHES, MATCHES)
def test_two_matches_are_never_called_the_same(one: LinkMatch, other: LinkMatch) -> None:
    assert (one.label == other.label) == (one == other)


@given(MATCHES)
def test_no_match_is_called_as_a_link_can_be(one: LinkMatch) -> None:
    assert set(one.label) & set("*?[:")  # a file's name of a link has none of them


def test_a_comma_in_a_name_does_not_make_it_another_match() -> None:
    assert match(name="a*,b").label != match(name="a*", driver="b").label == "a*,b"
    assert match(driver="veth").label == "driver:veth"


@pytest.mark.parametrize("word", ["enp1s0", "eth1", "uplink"])
def test_a_link_is_meant_by_any_of_its_names(word: str) -> None:
    assert entry_called(SPEC, word, LINKS) == SPEC.slaves[0]
    change = by_label(parse_change({"bundle": "ipeql0", "free": word}), SPEC, LINKS)
    assert change.free == "enp1s0"
    data = {"bundle": "ipeql0", "set-slave": {"name": word, "lag": "5ms"}}
    assert by_label(parse_change(data), SPEC, LINKS).set_slave == (
        parse_change({**data, "set-slave": {"name": "enp1s0", "lag": "5ms"}}).set_slave
    )


def test_a_part_of_one_match_is_enough() -> None:
    assert entry_called(SPEC, "veth") == SPEC.slaves[3]
    assert entry_called(SPEC, "b") == SPEC.slaves[2]


def test_a_word_that_may_mean_several_is_refused_with_their_names() -> None:
    with pytest.raises(IpeqlError) as refused:
        entry_called(SPEC, "w*")
    (problem,) = refused.value.problems
    assert problem.code == Code.AMBIGUOUS_SLAVE
    assert problem.help == "say w*,a or w*,b"
    with pytest.raises(IpeqlError) as refused:
        entry_called(bundle(SlaveSpec("enp1s0"), SlaveSpec("uplink")), "eth1", LINKS)
    assert refused.value.problems[0].help == "say enp1s0 or uplink"


@pytest.mark.parametrize("word", ["eth7", "wwan0", "lte", ""])
def test_what_means_none_is_told_what_there_is(word: str) -> None:
    with pytest.raises(NotFoundError, match="has no slave"):
        entry_called(SPEC, word, LINKS)
