"""What is recorded of a bundle's paths over time: rows, and the CSV that they are."""

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TextIO


@dataclass(frozen=True, slots=True)
class Sample:
    """A row: what was known of one slave's path, ``time_s`` after the recording began.

    ``learning``: what the law of its rate does; ``believed_bps``: what the path is believed to
    carry; ``delivered_bps``: what arrived of late, of what was sent. ``queue_ms``: what stands in
    the path. ``suspensions`` are those of the last hour. None: not known, or not measured.
    """

    time_s: float
    slave: str
    standing: str
    learning: str | None
    believed_bps: int | None
    delivered_bps: int | None
    queue_ms: float | None
    round_trip_ms: float | None
    lag_ms: float | None
    loss_ratio: float | None
    suspensions: int


COLUMNS = tuple(field.name for field in fields(Sample))


def samples(found: Mapping[str, Any], begin: int) -> list[Sample]:
    """Return a row for each slave of what the daemon answers to Paths.

    ``begin``: ns of CLOCK_MONOTONIC.
    """
    time_s = round((found["time_ns"] - begin) / 1e9, 3)
    return [_sample(time_s, slave["name"], slave["path"]) for slave in found["slaves"]]


def _sample(time_s: float, slave: str, path: Mapping[str, Any]) -> Sample:
    return Sample(
        time_s,
        slave,
        path["standing"],
        path["bandwidth_state"],
        path["bandwidth_bps"],
        path["delivered_bps"],
        _milliseconds(path["queue_ns"]),
        _milliseconds(path["round_trip_ns"]),
        _milliseconds(path["lag_ns"]),
        path["loss"],
        path["suspensions"],
    )


def _milliseconds(time: int | None) -> float | None:
    return None if time is None else round(time / 1e6, 3)


def table(file: TextIO) -> Callable[[Sample], None]:
    """Write the head of a CSV and return what writes a row; what is not known is empty."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)

    def write(sample: Sample) -> None:
        writer.writerow([getattr(sample, column) for column in COLUMNS])

    return write
