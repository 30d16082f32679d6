"""How paths are drawn: sparklines, times, and a history that follows the slaves."""

import io
from typing import Any

import pytest
from rich.console import Console

from ipeql.cli.reading.figures import age, milliseconds
from ipeql.cli.reading.path_table import SAMPLES, History, path_table, resting, sparkline

SECOND = 10**9


def bundle(standing: str, round_trip: int | None, loss: float | None = None) -> dict[str, Any]:
    path = {
        "to": "10.9.0.2",
        "standing": standing,
        "reason": "" if standing == "up" else "no answer",
        "since_ns": 5 * SECOND,
        "rung": "icmp",
        "round_trip_ns": round_trip,
        "lag_ns": 17_500_000,
        "lag_halved": True,
        "loss": loss,
        "suspensions": 3,
    }
    slave = {"name": "wg-lte", "label": "wg-lte", "ifindex": 4, "state": "active", "path": path}
    other = {"name": "eth1", "label": "eth1", "ifindex": 5, "state": "active", "path": None}
    absent = slave | {"name": "", "label": "wg-stick*", "ifindex": 0, "state": "absent"}
    return {"name": "ipeql0", "slaves": [slave, other, absent]}


def drawn(shown: dict[str, Any], now: int, history: History | None = None) -> list[str]:
    console = Console(file=io.StringIO(), width=160, highlight=False)
    console.print(path_table(shown, now, history))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("values", "top", "line"),
    [
        ([], 0.0, ""),
        ([0, 0], 0.0, "▁▁"),
        ([0, 35, 70], 0.0, "▁▅█"),
        ([None, 10, None], 0.0, " █ "),
        ([0.0, 0.5, 1.0, 2.0], 1.0, "▁▅██"),
    ],
)
def test_a_sparkline(values: list[float | None], top: float, line: str) -> None:
    assert sparkline(values, top) == line


def test_times() -> None:
    shown = [milliseconds(time) for time in (None, 0, 312_000, 10_400_000, 412_000_000)]
    assert shown == ["-", "0.00 ms", "0.31 ms", "10.4 ms", "412 ms"]
    assert milliseconds(40_300_000, "+") == "+40.3 ms"
    ages = [age(seconds * SECOND) for seconds in (0, 59, 60, 7200, 200_000)]
    assert ages == ["0 s", "59 s", "1 min", "2 h", "2 d"]


def test_a_path_is_a_row_and_a_slave_without_a_probe_is_none() -> None:
    head, *rows = drawn(bundle("down", None, 1.0), now=17 * SECOND)
    assert " ".join(head.split()) == "PATH STANDING ROUND TRIP LAG LOSS BY SUSPENDED NOTE"
    assert [" ".join(row.split()) for row in rows] == [
        "wg-lte down 12 s - +17.5 ms 100.0% ICMP 3 no answer; lag by round trips"
    ]
    assert list(resting(bundle("down", None))) == ["wg-lte rests: no answer (asked: 10.9.0.2)"]
    assert list(resting(bundle("up", 1))) == []


def test_the_history_has_the_last_values_and_gaps_where_nothing_was_heard() -> None:
    history = History()
    for number in range(SAMPLES + 5):
        history.add([bundle("up", 10_000_000 * (number + 1), 0.0)])
    history.add([bundle("suspended", 99_000_000, 0.5)])
    delay, loss = history.drawn("ipeql0", "wg-lte")
    assert (len(delay), delay[-2:], loss[-1]) == (SAMPLES, "█ ", "▅")
    assert history.drawn("ipeql0", "eth1") == ("", "")
    assert delay.rstrip() in drawn(bundle("up", 1), 0, history)[1]
