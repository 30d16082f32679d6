"""One guest for the whole run: it runs inside what the tests outside are named after."""

import pytest

from ipeql.errors import IpeqlError
from tests.vm.room import Room


@pytest.fixture(scope="session")
def room(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Room:
    """The guest, once it has run every test that is wanted of it."""
    nodes = [
        str(item.callspec.params["node"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and "room" in item.fixturenames
    ]
    try:
        return Room(nodes, tmp_path_factory.mktemp("room"))
    except IpeqlError as error:
        pytest.skip(str(error))
