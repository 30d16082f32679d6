"""Which paths of a bundle are alive: suspended early, down later, and never all of them.

A live path is often silent for 100 ms: so a silence that is longer than usual only suspends, and
the first answer ends it. A silence of a second is an event. Both are judged against the other paths
of the bundle: where nobody answers at all, the far end is silent, and not a path.
"""

from collections.abc import Mapping

from ipeql.paths.life import BACK_AFTER, DOWN_AFTER, FIRST_ANSWER, NEVER, Life
from ipeql.state.path import Standing

NO_ANSWER = "no answer"
ALL_SILENT = "no answer, as on every other slave"
NOT_ASKED = "the far end asks nothing over it any more"


def judge(lives: Mapping[int, Life], now: int) -> None:
    """Bring every path to where it stands now."""
    for life in lives.values():
        rest = [other for other in lives.values() if other is not life]
        match life.standing:
            case Standing.UP:
                _judge_up(life, rest, now)
            case Standing.SUSPENDED:
                _judge_suspended(life, rest, now)
            case Standing.UNKNOWN:
                _judge_unknown(life, rest, now)
            case Standing.DOWN:
                _judge_down(life, rest, now)
    if lives and not any(life.in_use for life in lives.values()):
        last = max(lives.values(), key=lambda life: life.evidence.heard)
        last.come(Standing.UNKNOWN, now, ALL_SILENT)


def _judge_up(life: Life, rest: list[Life], now: int) -> None:
    if life.is_dead(now):
        _judge_dead(life, rest, now)
    elif life.is_silent(now) and _shows_it_is_the_path(life, rest, now):
        life.come(Standing.SUSPENDED, now, NO_ANSWER)


def _judge_dead(life: Life, rest: list[Life], now: int) -> None:
    if not life.evidence.heard and _others_are_answered(life, rest, DOWN_AFTER):
        life.come(Standing.DOWN, now, NEVER)
    elif life.evidence.heard and _shows_it_is_dead(life, rest):
        life.come(Standing.DOWN, now, NO_ANSWER)
    elif all(other.is_silent(now) for other in rest if other.in_use):
        life.come(Standing.UNKNOWN, now, ALL_SILENT)


def _judge_suspended(life: Life, rest: list[Life], now: int) -> None:
    if life.evidence.answers > life.answers_before:
        life.come(Standing.UP, now)
    elif life.is_dead(now):
        _judge_dead(life, rest, now)


def _judge_unknown(life: Life, rest: list[Life], now: int) -> None:
    evidence = life.evidence
    if evidence.answers > life.answers_before:
        life.come(Standing.UP, now)
    elif evidence.heard:
        if life.is_dead(now) and _shows_it_is_dead(life, rest):
            life.come(Standing.DOWN, now, NO_ANSWER)
    elif (
        life.is_silent(now)
        and life.silence(now) >= FIRST_ANSWER
        and _others_are_answered(life, rest, FIRST_ANSWER)
    ):
        life.come(Standing.SUSPENDED, now, NEVER)
    elif _is_asked_no_more(life, rest, now):
        life.come(Standing.DOWN, now, NOT_ASKED)


def _judge_down(life: Life, rest: list[Life], now: int) -> None:
    evidence = life.evidence
    if life.is_silent(now):
        life.answers_before, life.back_from = evidence.answers, 0
    answers = evidence.answers - life.answers_before
    asked = (
        life.why == NOT_ASKED and len(life.asks) >= BACK_AFTER and life.asks[0] > life.asks_after
    )
    if (answers or asked) and not life.back_from:
        life.back_from = now
    works = any(other.in_use and not other.is_dead(now) for other in rest)
    if answers and not works:
        life.come(Standing.UP, now)
    elif life.back_from and now >= life.back_from + life.hold_off:
        if answers >= BACK_AFTER:
            life.come(Standing.UP, now)
        elif asked:
            life.come(Standing.UNKNOWN, now, NEVER)


def _shows_it_is_dead(life: Life, rest: list[Life]) -> bool:
    """Say whether a path in use was alive when this one was silent already: it is not the far end.

    That is if it has answered a probe that was sent after this path should have answered. Where it
    was as silent for a second, this path has as long from its first answer on.
    """
    evidence = life.evidence
    silent = (evidence.silent_from() or 0) + evidence.limit(life.interval)
    resumes = evidence.usual + evidence.limit(life.interval)
    return any(
        other.in_use
        and (
            not other.probed or other.evidence.asked > max(silent, other.evidence.resumed + resumes)
        )
        for other in rest
    )


def _others_are_answered(life: Life, rest: list[Life], within: int) -> bool:
    """Say whether the same far end has answered over another path what was asked so much later."""
    first = life.evidence.open[0][1]
    return any(
        other.in_use
        and other.far == life.far
        and other.evidence.asked > max(first, other.evidence.resumed) + within
        for other in rest
    )


def _shows_it_is_the_path(life: Life, rest: list[Life], now: int) -> bool:
    start = life.evidence.silent_from() or now
    return any(
        other.in_use and other.evidence.heard >= start and not other.is_silent(now)
        for other in rest
    )


def _is_asked_no_more(life: Life, rest: list[Life], now: int) -> bool:
    asks = life.asks
    if len(asks) < BACK_AFTER:
        return False
    interval = (asks[-1] - asks[0]) // (len(asks) - 1)
    if now - asks[-1] < max(DOWN_AFTER, 3 * interval):
        return False
    return any(
        other.in_use and len(other.asks) == BACK_AFTER and other.asks[0] > asks[-1]
        for other in rest
    )


def due(life: Life, now: int) -> int:
    """Return when to judge again for this path's sake, if no answer comes until then, in ns."""
    up, start = life.standing is Standing.UP, life.evidence.silent_from()
    if life.standing is Standing.DOWN:
        at = life.back_from + life.hold_off if life.back_from else now + DOWN_AFTER
    elif start is None:
        at = now + (DOWN_AFTER if up else DOWN_AFTER // 5)  # the next probe brings it forward
    elif up:
        limit = life.evidence.limit(life.interval)
        half = start + limit // 2
        at = half if half >= now else max(start + limit, life.evidence.in_vain_from(now))
    else:
        within = FIRST_ANSWER if life.in_use and not life.evidence.heard else DOWN_AFTER
        at = max(start + within, now + DOWN_AFTER // 20)
    return at
