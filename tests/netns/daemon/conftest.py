"""What most bundles under test stand on."""

from collections.abc import Iterator

import pytest

from lab.network.hosts import Lab


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Return two hosts, joined by two links, of which the far one has no IPEQL."""
    with Lab([None, None]) as lab:
        lab.plain_receiver()
        yield lab
