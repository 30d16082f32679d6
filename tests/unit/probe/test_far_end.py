"""When a far end is asked by ICMP echo instead of STAMP, and when STAMP is tried again."""

from ipaddress import ip_address

from ipeql.probe.far_end import HEARD_TRIAL, SILENCE, TRIAL, FarEnd
from ipeql.state import ProbeSpec

TO = ip_address("10.9.0.2")
NOW = 10**12


def silent_for(by: str, silence: int) -> FarEnd:
    far_end = FarEnd(ProbeSpec(TO, by=by))
    far_end.asked(NOW)
    far_end.asked(NOW + silence)
    return far_end


def test_a_far_end_that_never_answers_stamp_is_asked_by_echo() -> None:
    assert not silent_for("auto", SILENCE).by_icmp
    assert silent_for("auto", SILENCE + 1).by_icmp


def test_what_is_configured_is_not_changed() -> None:
    assert not silent_for("stamp", 9 * SILENCE).by_icmp
    icmp = silent_for("icmp", 0)
    assert icmp.by_icmp
    assert not icmp.tries(1, NOW)


def test_an_answer_begins_the_silence_anew() -> None:
    far_end = silent_for("auto", SILENCE)
    far_end.answered()
    far_end.asked(NOW + 3 * SILENCE)
    far_end.asked(NOW + 4 * SILENCE)
    assert not far_end.by_icmp


def test_stamp_is_tried_again_over_each_slave_now_and_then() -> None:
    far_end = silent_for("auto", 2 * SILENCE)
    assert [far_end.tries(slave, NOW) for slave in (1, 2, 1)] == [True, True, False]
    assert far_end.tries(1, NOW + TRIAL)
    far_end.answered()
    assert not far_end.by_icmp


def test_a_far_end_that_asks_by_stamp_is_tried_sooner() -> None:
    far_end = silent_for("auto", 2 * SILENCE)
    assert far_end.tries(1, NOW)
    for later in range(3):
        far_end.heard(NOW + later)
    assert not far_end.tries(1, NOW + HEARD_TRIAL - 1)
    assert far_end.tries(1, NOW + HEARD_TRIAL)
