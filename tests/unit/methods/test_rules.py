"""What decides beside the method: slaves in reserve, flows, classes (docs/methods.md)."""

import pytest

from ipeql.methods import METHODS, UNITS, Arrival, Decision, Rules, SlaveParameters, create
from ipeql.methods.bw_lag_eq import BwLagEq

MS = 10**6
SECOND = 10**9
MBIT = 10**6
LENGTH = 1000
"""Of a packet that takes a slave with 8 Mbit/s and no overhead 1 ms."""

AF41, EF = 34, 46


def slave(use: str = "always", lag: int | None = 0, megabits: int = 8) -> SlaveParameters:
    return SlaveParameters(megabits * MBIT, lag if lag is None else lag * MS, 0, use)


def packet(now: int, flow: int = 0, dscp: int = 0) -> Arrival:
    """Return a packet; what the slaves' devices have not sent is less with each of them."""
    return Arrival(now, LENGTH, queued=range(8, 0, -1), flow=flow, dscp=dscp)


every_method = pytest.mark.parametrize("name", METHODS)
flows_stay = pytest.mark.parametrize("unit", UNITS)


@every_method
def test_a_spare_carries_everything_while_no_other_slave_is_usable(name: str) -> None:
    scheduler = create(name, [slave("when-down"), slave(), slave("when-down")])
    taken = []
    for mask in (0b111, 0b101, 0b100, 0b000, 0b111):
        scheduler.set_usable(mask)
        taken.append(scheduler.pick(packet(0)))
    assert [decision.slave for decision in taken] == [1, 0, 2, None, 1]
    assert taken[3].reason == "no_slave"
    assert not any(decision.also for decision in taken)


@every_method
def test_overflow_begins_after_its_time_of_queue_and_ends_when_that_is_short(name: str) -> None:
    rules = Rules(overflow_after=3 * MS)
    scheduler = create(name, [slave(), slave("when-full", megabits=80)], rules)
    filling = [scheduler.pick(packet(0)).slave for _ in range(4)]
    assert filling == [0, 0, 0, 0]
    # The fourth packet met 3 ms of queue, which is not more than 3 ms; the fifth meets 4 ms.
    full = scheduler.pick(packet(0))
    assert 1 in {full.slave, *full.also}
    rested = scheduler.pick(packet(10 * MS))
    assert (rested.slave, rested.also) == (0, ())


def test_every_slave_that_is_always_in_use_has_to_be_full() -> None:
    scheduler = create("round_robin", [slave(), slave("when-full"), slave()], Rules("burst", MS))
    taken = [scheduler.pick(packet(0)).slave for _ in range(6)]
    assert taken == [0, 2, 0, 2, 0, 1]


def test_every_copy_fills_the_queue_of_its_slave() -> None:
    table = [slave(), slave(), slave("when-full", megabits=80)]
    scheduler = create("duplicate", table, Rules(overflow_after=3 * MS))
    assert [scheduler.pick(packet(0)) for _ in range(4)] == [Decision(0, 0, also=(1,))] * 4
    assert scheduler.pick(packet(0)) == Decision(2, 0, also=(0,))


def test_when_full_is_used_while_no_slave_that_is_always_in_use_is_usable() -> None:
    scheduler = create("bw_lag", [slave(), slave("when-full"), slave("when-down")])
    scheduler.set_usable(0b110)
    assert [scheduler.pick(packet(0)).slave for _ in range(2)] == [1, 1]


def test_overflow_and_its_end_do_not_begin_the_priorities_of_bw_load_anew() -> None:
    table = [slave(megabits=24), slave(megabits=8), slave("when-full")]
    scheduler = create("bw_load", table, Rules(overflow_after=0))
    alone = create("bw_load", table[:2])
    for k in range(8):
        now = k * 10 * MS  # every queue is empty again
        assert scheduler.pick(packet(now)).slave == alone.pick(packet(now)).slave
        for _ in range(k % 2):
            scheduler.pick(packet(now))
            alone.pick(packet(now))


def test_a_packet_of_a_class_that_is_dropped_ends_what_an_adjustment_has_kept() -> None:
    table = [slave(), slave()]
    scheduler = create("bw_load", table, Rules(light_dscps=1 << AF41))
    assert scheduler.pick(packet(0)).slave == 0
    scheduler.adjust(table)
    scheduler.set_usable(0b00)
    assert scheduler.pick(packet(0, dscp=AF41)).reason == "no_slave"
    scheduler.set_usable(0b11)
    assert scheduler.pick(packet(0)).slave == 0


def test_what_is_held_for_order_waits_for_the_slave_that_overflow_goes_to_all_the_time() -> None:
    scheduler = create("bw_lag_eq", [slave(lag=5), slave("when-full", lag=50)])
    assert scheduler.pick(packet(0)) == Decision(0, 45 * MS)


def test_a_slave_that_could_take_a_packet_only_later_counts_as_full() -> None:
    scheduler = BwLagEq([slave(), slave("when-full")])
    scheduler.bind_late([300 * MS, 0])
    assert scheduler.pick(packet(0)).slave == 1
    scheduler.bind_late([0, 0])
    assert scheduler.pick(packet(0)).slave == 0


def test_what_goes_to_a_group_takes_the_first_candidate() -> None:
    scheduler = create("bw_load", [slave("when-down"), slave(), slave()])
    firsts = []
    for mask in (0b111, 0b101, 0b001, 0b000):
        scheduler.set_usable(mask)
        firsts.append(scheduler.first())
    assert firsts == [1, 2, 0, None]


@pytest.mark.parametrize("name", ["round_robin", "auto_bw"])
def test_what_is_always_in_use_beside_one_that_is_when_full_needs_a_bandwidth(name: str) -> None:
    spare = SlaveParameters(use="when-full")
    create(name, [slave(), spare])
    with pytest.raises(ValueError, match="slave 0 needs a bandwidth"):
        create(name, [SlaveParameters(), spare])


def test_an_unknown_use_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"slave 0: use is 'sometimes'.*when-down"):
        create("round_robin", [slave("sometimes")])


@flows_stay
@pytest.mark.parametrize("name", sorted(METHODS.keys() - {"duplicate"}))
def test_the_packets_of_a_flow_that_does_not_rest_stay_on_one_slave(name: str, unit: str) -> None:
    scheduler = create(name, [slave(), slave(lag=5), slave(lag=9)], Rules(unit))
    taken: dict[int, set[int | None]] = {}
    for k in range(60):
        chosen = scheduler.pick(packet(k * MS // 2, flow=k % 5))
        taken.setdefault(k % 5, set()).add(chosen.slave)
        assert chosen.release == k * MS // 2  # nothing is held
    assert [len(slaves) for slaves in taken.values()] == [1] * 5


def test_flows_are_spread_by_the_method() -> None:
    scheduler = create("round_robin", [slave(), slave(), slave()], Rules("flow"))
    flows = [7, 3, 7, 9, 3, 9, 4]
    assert [scheduler.pick(packet(0, flow)).slave for flow in flows] == [0, 1, 0, 2, 1, 2, 0]


@flows_stay
def test_bw_load_counts_flows_and_not_what_they_carry(unit: str) -> None:
    scheduler = create("bw_load", [slave(megabits=24), slave()], Rules(unit))
    assert {scheduler.pick(packet(0, flow=1)).slave for _ in range(1000)} == {0}
    taken = [scheduler.pick(packet(0, flow)).slave for flow in range(2, 10)]
    assert taken == [0, 1, 0, 0, 0, 1, 0, 0]


def test_bw_poll_counts_what_flows_carry_and_forgets_it() -> None:
    scheduler = create("bw_poll", [slave(), slave()], Rules("flow"))
    assert [scheduler.pick(packet(0, flow=1)).slave for _ in range(4)] == [0] * 4
    assert [scheduler.pick(packet(0, flow)).slave for flow in range(2, 7)] == [1, 1, 1, 1, 0]
    scheduler.tick(SECOND)
    assert scheduler.pick(packet(SECOND, flow=7)).slave == 0


@pytest.mark.parametrize(("unit", "then"), [("flow", 0), ("flowlet", 1)])
def test_a_flowlet_moves_after_a_pause_longer_than_the_spread_and_not_before(
    unit: str, then: int
) -> None:
    """The slaves' lags are 5 and 12 ms: what left before such a pause has arrived."""
    scheduler = create("round_robin", [slave(lag=5), slave(lag=12)], Rules(unit))
    first = 32 * 10**9
    second = first + 7 * MS
    assert [scheduler.pick(packet(now, flow=1)).slave for now in (first, second)] == [0, 0]
    assert scheduler.pick(packet(second + 7 * MS + 32, flow=1)).slave == then


def test_a_flowlet_rests_for_a_millisecond_at_least() -> None:
    scheduler = create("round_robin", [slave(lag=None), slave()], Rules("flowlet"))
    assert [scheduler.pick(packet(now, flow=1)).slave for now in (0, MS, 2 * MS + 64)] == [0, 0, 1]


@flows_stay
def test_a_flow_whose_slave_goes_out_takes_another_and_stays_there(unit: str) -> None:
    scheduler = create("round_robin", [slave(), slave(), slave()], Rules(unit))
    assert [scheduler.pick(packet(0, flow)).slave for flow in (1, 2)] == [0, 1]
    scheduler.set_usable(0b110)
    assert [scheduler.pick(packet(0, flow)).slave for flow in (1, 2)] == [2, 1]
    scheduler.set_usable(0b111)
    assert [scheduler.pick(packet(0, flow)).slave for flow in (1, 2)] == [2, 1]


@flows_stay
def test_flows_outlive_a_new_table_with_slaves_in_other_places(unit: str) -> None:
    previous = create("round_robin", [slave(), slave(), slave()], Rules("flow"))
    assert [previous.pick(packet(0, flow)).slave for flow in (1, 2, 3)] == [0, 1, 2]
    scheduler = create("bw_load", [slave(megabits=80), slave(), slave()], Rules(unit))
    scheduler.inherit(previous, [None, 2, 0])  # the slave of flow 2 is gone
    assert [scheduler.pick(packet(0, flow)).slave for flow in (3, 1, 2)] == [1, 2, 0]


def test_a_flow_of_bw_lag_eq_takes_the_slave_where_it_arrives_first_behind_its_queue() -> None:
    scheduler = create("bw_lag_eq", [slave(lag=50), slave(lag=5)], Rules("flow"))
    for _ in range(46):
        assert scheduler.pick(packet(0, flow=1)) == Decision(1, 0)
    assert scheduler.pick(packet(0, flow=2)) == Decision(0, 0)


def test_a_flow_of_bw_lag_eq_knows_the_real_queue_as_it_is() -> None:
    """Nothing is held on the shorter path, so its queue is not empty any sooner."""
    scheduler = BwLagEq([slave(lag=5), slave(lag=50)], Rules("flow"))
    scheduler.bind_late([60 * MS, 0])
    assert scheduler.pick(packet(0, flow=1)) == Decision(1, 0)


def test_a_flow_of_bw_lag_eq_has_room_within_queue_limit_and_does_not_move_for_want_of_it() -> None:
    scheduler = create("bw_lag_eq", [slave(), slave()], Rules("flow"), queue_limit=MS)
    taken = [scheduler.pick(packet(0, flow=1)) for _ in range(3)]
    assert taken == [Decision(0, 0), Decision(0, 0), Decision(None, 0, "queue_full")]
    assert scheduler.pick(packet(0, flow=2)) == Decision(1, 0)


def test_a_flow_leaves_a_slave_that_is_when_full_when_the_others_have_room() -> None:
    table = [slave(), slave("when-full")]
    scheduler = create("bw_lag", table, Rules("flow", overflow_after=MS))
    assert [scheduler.pick(packet(0, flow=1)).slave for _ in range(2)] == [0, 0]
    assert scheduler.pick(packet(0, flow=2)).slave == 1
    assert scheduler.pick(packet(10 * MS, flow=2)).slave == 0


def test_duplicates_go_over_the_slaves_that_deliver_first() -> None:
    table = [slave(lag=30), slave(lag=9), slave(lag=1, megabits=1), slave(lag=20)]
    copies = [create("duplicate", table, copies=number).pick(packet(0)) for number in (1, 2, 3, 9)]
    assert copies == [
        Decision(2, 0),  # after 8 ms for the packet and 1 ms of lag; over slave 1 after 1 and 9 ms
        Decision(2, 0, also=(1,)),
        Decision(2, 0, also=(1, 3)),
        Decision(2, 0, also=(1, 3, 0)),
    ]


def test_duplicates_go_over_the_first_slaves_where_it_is_not_known_which_deliver_first() -> None:
    table = [slave(lag=30), slave(lag=None), slave(lag=1)]
    scheduler = create("duplicate", table)
    assert scheduler.pick(packet(0)) == Decision(0, 0, also=(1,))
    scheduler.set_usable(0b100)
    assert scheduler.pick(packet(0)) == Decision(2, 0)


@flows_stay
def test_duplicate_keeps_no_flows(unit: str) -> None:
    scheduler = create("duplicate", [slave(lag=5), slave(), slave()], Rules(unit))
    assert scheduler.pick(packet(0, flow=1)) == Decision(1, 0, also=(2,))
    scheduler.adjust([slave(), slave(), slave(lag=5)])
    assert scheduler.pick(packet(0, flow=1)) == Decision(0, 0, also=(1,))


@every_method
def test_a_class_has_its_method_whatever_the_bundles_is(name: str) -> None:
    rules = Rules(light_dscps=1 << AF41, duplicate_dscps=1 << EF)
    scheduler = create(name, [slave(lag=50), slave(lag=20), slave(lag=5)], rules)
    assert scheduler.pick(packet(0, dscp=AF41)) == Decision(2, 0)
    assert scheduler.pick(packet(0, dscp=EF)) == Decision(2, 0, also=(1,))


@flows_stay
@pytest.mark.parametrize("name", sorted(METHODS.keys() - {"duplicate"}))
def test_a_class_beats_the_flow_and_leaves_it_where_it_is(name: str, unit: str) -> None:
    rules = Rules(unit, light_dscps=1 << AF41, duplicate_dscps=1 << EF)
    scheduler = create(name, [slave(), slave(lag=5)], rules)
    scheduler.set_usable(0b10)
    assert scheduler.pick(packet(0, flow=1)).slave == 1
    scheduler.set_usable(0b11)
    assert scheduler.pick(packet(0, flow=1, dscp=AF41)) == Decision(0, 0)
    assert scheduler.pick(packet(0, flow=1, dscp=EF)) == Decision(0, 0, also=(1,))
    assert scheduler.pick(packet(0, flow=1)).slave == 1


def test_both_copies_are_in_the_virtual_queues() -> None:
    scheduler = create("bw_lag", [slave(lag=5), slave(), slave(lag=9)], Rules(duplicate_dscps=2))
    assert scheduler.pick(packet(0, dscp=1)) == Decision(1, 0, also=(0,))
    assert scheduler.pick(packet(0)).slave == 2


def test_a_class_of_bw_lag_eq_keeps_within_queue_limit() -> None:
    rules = Rules(duplicate_dscps=1 << EF)
    scheduler = create("bw_lag_eq", [slave(), slave(lag=5)], rules, queue_limit=MS)
    first, *_, last = [scheduler.pick(packet(0, dscp=EF)) for _ in range(3)]
    assert (first, last) == (Decision(0, 0, also=(1,)), Decision(None, 0, "queue_full"))


def test_a_class_does_not_take_a_slave_in_reserve() -> None:
    rules = Rules(light_dscps=1 << AF41, duplicate_dscps=1 << EF)
    scheduler = create("bw_load", [slave(lag=50), slave("when-full"), slave("when-down")], rules)
    assert scheduler.pick(packet(SECOND, dscp=AF41)) == Decision(0, SECOND)
    assert scheduler.pick(packet(SECOND, dscp=EF)) == Decision(0, SECOND)
