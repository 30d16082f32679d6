"""How long a train of packets may be."""

from ipeql.plan.trains import train_limit
from ipeql.state import MAX_TRAIN, BundleTable, SlaveRow


def table(*bandwidths: int) -> BundleTable:
    rows = tuple(SlaveRow(n, f"eth{n}", rate) for n, rate in enumerate(bandwidths, 1))
    return BundleTable("bw_load", slaves=rows)


def test_a_train_takes_a_millisecond_at_most_on_the_slowest_slave() -> None:
    assert train_limit(table(10**9, 10**8)) == 8  # 12 Mbit a second and packet
    assert train_limit(table(20 * 10**6)) == 1
    assert train_limit(table(28800, 10**9)) == 1
    assert train_limit(table(10**12)) == MAX_TRAIN
    assert train_limit(table(10**9, 0)) == 83


def test_a_train_is_as_long_as_can_be_where_no_bandwidth_is_known() -> None:
    assert train_limit(table()) == train_limit(table(0, 0)) == MAX_TRAIN
