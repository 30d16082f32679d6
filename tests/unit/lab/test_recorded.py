"""What recorded links could have carried, and where recordings are."""

from pathlib import Path

import pytest

from lab.network.recorded import DIRECTORY, PAYLOAD, Recording, found

BEGIN = 7_000_000_001


@pytest.fixture
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recording:
    """Two opportunities at 2 ms, one at 5 and at 10 ms, over and over."""
    (tmp_path / "link.up").write_text("2\n2\n5\n10\n")
    (tmp_path / "link.csv").write_text("t_ms,owd_ms\n0,4\n10,8\n")
    monkeypatch.setenv(DIRECTORY, str(tmp_path))
    return Recording("a link", "link.up", delay=5_000_000, queue=10**9, delays="link.csv")


@pytest.mark.parametrize(
    ("skip", "since", "until", "count"),
    [(0, 0, 10, 4), (0, 1, 10, 3), (0, 1, 11, 4), (0, 3, 5, 0), (0, 3, 6, 1), (3, 0, 3, 1)],
)
def test_what_it_could_carry_is_counted(
    recording: Recording, skip: int, since: int, until: int, count: int
) -> None:
    ms = 10**6
    later = Recording("", recording.file, 0, 0, skip=skip * ms)
    carried = later.carried(BEGIN, BEGIN + since * ms, BEGIN + until * ms)
    assert carried == round(count * 1500 * PAYLOAD)


def test_its_lag_is_the_mean(recording: Recording) -> None:
    assert recording.lag == 11_000_000


def test_a_recording_that_is_not_there_says_where_to_read(recording: Recording) -> None:
    assert found("starlink.up").endswith("lab/traces/starlink.up")
    with pytest.raises(FileNotFoundError, match=r"no recording nowhere.up: see lab/traces/README"):
        found("nowhere.up")
