"""The bench's real links at small size: what holds on a busy machine too."""

import pytest

from bench.candidates import PLAIN, Candidate
from bench.scenarios.links import STARLINK, STARLINK_LATER, Case, run

pytestmark = pytest.mark.netns

CASE = Case((STARLINK, STARLINK_LATER), seconds=8)
AUTO = Candidate("tun-probe", "bw_lag_eq", slaves=0)


@pytest.mark.parametrize("candidate", [PLAIN, AUTO], ids=["plain", "auto"])
def test_tcp_and_voice_over_recorded_links(candidate: Candidate) -> None:
    outcome = run(candidate, CASE, warm_up=2)
    told = outcome.told()
    print(told)
    assert 0.02 < outcome.share < 1.1
    assert min(outcome.voice) > 10**7  # they are that far apart
    assert outcome.lost < 0.9
    assert ("suspensions" in told) == (candidate is AUTO)
