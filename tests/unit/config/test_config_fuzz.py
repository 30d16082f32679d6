"""Whatever a file holds: a state or a ConfigError that can be shown, nothing else."""

import tempfile
from pathlib import Path

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipeql.config import load
from ipeql.config.schema.advice import advise_rate, advise_time
from ipeql.config.schema.model import Bundle, Class, File, Match, Probe, Route, Slave
from ipeql.errors import ConfigError
from ipeql.units import parse_rate, parse_time

VALID = (
    (Path(__file__).parents[3] / "etc" / "ipeql" / "example.yaml.disabled").read_bytes()
    + b"    mtu: 1400\n    min-slaves: 2\n    poll-interval: 1s\n    stripe-unit: packet\n"
)

QUIET = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is no failure."""

TABLES = (File, Bundle, Slave, Match, Probe, Route, Class)
WORDS = (
    "eth1 ipeql0 bw_load auto 100Mbit 5ms 10.9.0.1/24 ::1 fd00::/64 no 1:30 010 tun * bytes"
    " 10.9.0.2 icmp when-full when-down flowlet ef af41 duplicate"
)

KEYS = st.sampled_from([str(f.alias) for t in TABLES for f in t.model_fields.values()] + ["ipeql0"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-5, 2000)
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.sampled_from(
        [*WORDS.split(), "\x1b[31m"]  # the last: what a terminal would act on
    )
)
STRUCTURES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=4), inner, max_size=6)
    ),
    max_leaves=20,
)
SLAVE = st.dictionaries(KEYS, STRUCTURES, max_size=4)
BUNDLE = st.dictionaries(KEYS, STRUCTURES, max_size=4).flatmap(
    lambda keys: st.fixed_dictionaries(
        {
            "method": st.sampled_from(["bw_load", "bw_lag_eq", "round_robin"]),
            "slaves": st.lists(SLAVE, max_size=3),
        }
    ).map(lambda required: required | keys)
)
NEARLY = st.fixed_dictionaries(
    {"version": st.just(1), "bundles": st.dictionaries(KEYS | st.text(max_size=4), BUNDLE)}
)


def check(content: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".yaml") as file:
        file.write(content)
        file.flush()
        try:
            for bundle in load([Path(file.name)]).bundles.values():
                assert all(bool(slave.name) != bool(slave.match) for slave in bundle.slaves)
        except ConfigError as error:
            assert error.problems
            for problem in error.problems:
                assert problem.mark is not None
                assert problem.mark.line >= 1
                assert problem.mark.column >= 1
                shown = problem.render().replace("\n", "")
                assert shown.isprintable()
                assert len(shown) < 1000
                assert len(problem.mark.source) >= problem.mark.column - 1 or (
                    not problem.mark.source
                )


@given(st.binary(max_size=200))
@settings(QUIET)
def test_bytes(content: bytes) -> None:
    check(content)


@given(st.text(alphabet="abn01:-{}[]\"'#&*!|>%@,? \n\t~<\\", max_size=60))
@settings(QUIET)
def test_yaml_punctuation(text: str) -> None:
    check(text.encode())


@given(st.data())
@settings(QUIET, max_examples=300)
def test_mutated_valid_file(data: st.DataObject) -> None:
    content = bytearray(VALID)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        end = start + data.draw(st.integers(0, 12))
        piece = st.binary(max_size=4) | st.sampled_from([b" ", b"\n", b"\t", b": ", b"- ", b"{"])
        content[start:end] = data.draw(piece)
    check(bytes(content))


@given(STRUCTURES | NEARLY)
@settings(QUIET, max_examples=60)
def test_structures(structure: object) -> None:
    check(yaml.safe_dump(structure, allow_unicode=True).encode("utf-8", "replace"))


@given(st.from_regex(r"[-+]?[0-9]{1,4}([.,][0-9]{1,3})? ?[kKmMgGtT]?(bit|b|B|bps|B/s|bits)?\Z"))
@settings(QUIET)
def test_a_rate_that_is_suggested_is_one(text: str) -> None:
    advice = advise_rate(text)
    if advice.startswith(("write ", "add the unit: ")) and " as tc " not in advice:
        words = advice.replace(",", " ").split()
        rates = [word for word in words if word.endswith("bit")]
        assert rates or "whole" in advice
        for rate in rates:
            try:
                parse_rate(rate)
            except ValueError as error:
                assert "no finer" in str(error)


@given(st.from_regex(r"[-+]?[0-9]{1,4}([.,][0-9]{1,3})? ?(ns|us|ms|s|sec|min|m|h|msec)?\Z"))
@settings(QUIET)
def test_a_time_that_is_suggested_is_one(text: str) -> None:
    advice = advise_time(text)
    if advice.startswith("write ") and " as tc " not in advice and "whole" not in advice:
        try:
            parse_time(advice.removeprefix("write "))
        except ValueError as error:
            assert "no finer" in str(error)
