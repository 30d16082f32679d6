"""What a dataplane may count on with every method: errors, no usable slave, range, new tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipeql.methods import MAX_SLAVES, METHODS, Arrival, Decision, Scheduler, SlaveParameters, create

MS = 10**6
MBIT = 10**6
FULL = SlaveParameters(bandwidth=10 * MBIT, lag=5 * MS)

every_method = pytest.mark.parametrize("name", METHODS)


def test_the_methods_are_those_of_the_documentation() -> None:
    assert {
        name: (set(method.needs), set(method.parameters)) for name, method in METHODS.items()
    } == {
        "round_robin": (set(), {"packets_per_slave"}),
        "bw_load": ({"bandwidth"}, {"count"}),
        "bw_poll": ({"bandwidth"}, {"count", "poll_interval"}),
        "bw_lag": ({"bandwidth"}, set()),
        "bw_lag_val": ({"bandwidth", "lag"}, set()),
        "auto_bw": (set(), set()),
        "bw_lag_eq": ({"bandwidth", "lag"}, {"queue_limit", "max_hold"}),
        "duplicate": (set(), {"copies"}),
    }


@every_method
def test_a_packet_without_a_usable_slave_is_dropped(name: str) -> None:
    scheduler = create(name, [FULL] * 3)
    scheduler.set_usable(0b1000)
    assert scheduler.pick(Arrival(7, 1500, queued=[0] * 3)) == Decision(None, 7, "no_slave")
    scheduler.set_usable(0b010)
    assert scheduler.pick(Arrival(8, 1500, queued=[0] * 3)).slave == 1
    assert create(name, []).pick(Arrival(9, 1500, queued=[])) == Decision(None, 9, "no_slave")


@every_method
def test_an_unknown_parameter_is_a_type_error_that_names_it(name: str) -> None:
    with pytest.raises(TypeError, match=rf"{name}.*wieght"):
        create(name, [FULL], wieght=1)


@every_method
def test_a_missing_need_is_a_value_error_that_names_slave_and_need(name: str) -> None:
    lacking = {"bandwidth": SlaveParameters(lag=0), "lag": SlaveParameters(bandwidth=MBIT)}
    for need, slave in lacking.items():
        if need in METHODS[name].needs:
            with pytest.raises(ValueError, match=rf"slave 1 .*{need}"):
                create(name, [FULL, slave])
        else:
            create(name, [FULL, slave])


@pytest.mark.parametrize(
    ("name", "parameter", "value"),
    [
        ("round_robin", "packets_per_slave", 0),
        ("bw_load", "count", "bits"),
        ("bw_poll", "poll_interval", 0),
        ("bw_lag_eq", "queue_limit", -1),
        ("bw_lag_eq", "max_hold", -1),
        ("duplicate", "copies", 0),
    ],
)
def test_a_parameter_out_of_range_is_a_value_error(
    name: str, parameter: str, value: int | str
) -> None:
    with pytest.raises(ValueError, match=parameter):
        create(name, [FULL], **{parameter: value})


@every_method
def test_at_most_32_slaves(name: str) -> None:
    create(name, [FULL] * MAX_SLAVES)
    with pytest.raises(ValueError, match="33"):
        create(name, [FULL] * (MAX_SLAVES + 1))


def test_an_unknown_method_is_a_value_error_that_lists_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"bw_laod.*bw_load"):
        create("bw_laod", [FULL])


def numbers(scheduler: Scheduler) -> list[int]:
    """Return every number a scheduler holds."""
    found: list[int] = []
    held = list(vars(scheduler).values())
    while held:
        value = held.pop()
        if isinstance(value, int):
            found.append(value)
        elif isinstance(value, dict):
            held.extend(value.values())
        elif isinstance(value, (list, tuple)):
            held.extend(value)
    return found


@every_method
def test_a_million_extreme_packets_stay_within_64_bits(name: str) -> None:
    table = [SlaveParameters(1000, 0, 38), SlaveParameters(1000, 10**9, 38)]
    unlimited = {"queue_limit": 2**62} if name == "bw_lag_eq" else {}
    scheduler = create(name, table, **unlimited)
    pick = scheduler.pick
    for k in range(10**6):
        pick(Arrival(2**58, 65535, 48, 72, (k, 1)))
    assert all(abs(number) < 2**63 for number in numbers(scheduler))


@pytest.mark.parametrize("name", ["bw_lag", "bw_lag_val", "bw_lag_eq"])
@pytest.mark.parametrize("before", ["bw_lag", "bw_lag_val", "bw_lag_eq"])
def test_virtual_queues_outlive_a_new_table(before: str, name: str) -> None:
    previous = create(before, [FULL, FULL])
    for _ in range(20):
        previous.pick(Arrival(0, 1500))
    scheduler = create(name, [FULL, FULL, FULL])
    scheduler.inherit(previous, [1, None, 0])
    chosen = [scheduler.pick(Arrival(0, 1500)).slave for _ in range(13)]
    assert chosen == [1] * 10 + [0, 1, 2]


@given(
    picked=st.integers(0, 10),
    origins=st.permutations([0, 1, 2, None]).flatmap(
        lambda order: st.integers(1, 4).map(lambda length: order[:length])
    ),
)
def test_round_robin_goes_on_after_the_slave_that_was_last(
    picked: int, origins: list[int | None]
) -> None:
    previous = create("round_robin", [FULL] * 3)
    for _ in range(picked):
        previous.pick(Arrival(0, 1500))
    scheduler = create("round_robin", [FULL] * len(origins))
    scheduler.inherit(previous, origins)
    last = (picked - 1) % 3
    if last in origins:
        assert scheduler.pick(Arrival(0, 1500)).slave == (origins.index(last) + 1) % len(origins)


def test_round_robin_goes_on_where_a_slave_that_was_freed_had_been() -> None:
    previous = create("round_robin", [FULL] * 4)
    assert [previous.pick(Arrival(0, 1500)).slave for _ in range(3)] == [0, 1, 2]
    scheduler = create("round_robin", [FULL] * 3)
    scheduler.inherit(previous, [0, 1, 3])
    assert scheduler.pick(Arrival(0, 1500)).slave == 2


@pytest.mark.parametrize("name", ["bw_load", "bw_poll"])
def test_priorities_start_anew_with_a_new_table_or_usable_set(name: str) -> None:
    fast, slow = SlaveParameters(bandwidth=3 * MBIT), SlaveParameters(bandwidth=MBIT)
    previous = create(name, [fast, slow])
    previous.pick(Arrival(0, 1500))
    previous.pick(Arrival(0, 1500))
    scheduler = create(name, [fast, slow])
    scheduler.inherit(previous, [0, 1])
    assert scheduler.pick(Arrival(0, 1500)).slave == 0
    previous.set_usable(0b01)
    previous.set_usable(0b11)
    assert [previous.pick(Arrival(0, 1500)).slave for _ in range(4)] == [0, 0, 1, 0]
