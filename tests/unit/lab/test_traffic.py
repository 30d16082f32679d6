"""What is computed from the account of a test flow."""

from lab.network.traffic import UdpResult, goodput, longest_pause

S = 10**9
MS = 10**6


def test_goodput_leaves_out_the_warm_up() -> None:
    samples = [(0, 0), (S, 500), (2 * S, 1000), (4 * S, 6000)]
    assert goodput(samples, warmup=2 * S) == 5000 * 8 / 2
    assert goodput(samples, warmup=0) == 6000 * 8 / 4


def test_goodput_of_a_flow_that_ended_in_its_warm_up_is_nothing() -> None:
    assert goodput([(0, 0), (S, 500)], warmup=2 * S) == 0
    assert goodput([(0, 0), (S, 500)], warmup=S) == 0


def test_a_pause_lasts_from_the_last_byte_to_the_next() -> None:
    samples = [(0, 0), (20 * MS, 5), (40 * MS, 5), (60 * MS, 5), (80 * MS, 9), (100 * MS, 9)]
    assert longest_pause(samples) == 60 * MS
    assert longest_pause([]) == 0


def test_ratios_of_a_stream() -> None:
    result = UdpResult(
        sent=10, received=8, duplicated=1, extents=(1, 2), longest_gap=5, delays=(1, 3, 2)
    )
    assert (result.lost, result.reordered, result.delay) == (2, 0.25, 2)


def test_a_stream_of_which_nothing_came() -> None:
    result = UdpResult(sent=10, received=0, duplicated=0, extents=(), longest_gap=5, delays=())
    assert (result.lost, result.reordered) == (10, 0)
