"""The guests, one of each kind for the whole run: each runs inside what the tests outside name."""

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from inspect import signature

import pytest

from ipeql.errors import IpeqlError
from tests.vm.room import Room

EXACT = {"exact_room": True, "module_room": False, "room": False}
"""Which of the guests are on the instruction clock. The one that takes longest begins first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the unit tests while the guests run: they alone measure no time."""
    order = ("netns", "system", "alone", "guests", "unit", "vm")

    def turn(item: pytest.Item) -> int:
        if "alone" in item.keywords:
            return order.index("alone")
        asks = isinstance(item, pytest.Function) and "guests" in signature(item.obj).parameters
        return order.index("guests" if asks else item.nodeid.split("/")[1])

    items.sort(key=turn)


@pytest.fixture(scope="session")
def guests(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Room]]]:
    """Those that are wanted, as many at once as there are processors: each takes one."""
    wanted: dict[str, list[str]] = {kind: [] for kind in EXACT}
    for item in request.session.items:
        for kind in EXACT:
            if isinstance(item, pytest.Function) and kind in item.fixturenames:
                wanted[kind].append(str(item.callspec.params["node"]))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {
            kind: pool.submit(Room.run, nodes, tmp_path_factory.mktemp(kind), EXACT[kind])
            for kind, nodes in wanted.items()
            if nodes
        }


@pytest.fixture(scope="session")
def room(guests: dict[str, Future[Room]]) -> Room:
    """The guest, once it has run every test that is wanted of it."""
    return _when_done(guests["room"])


@pytest.fixture(scope="session")
def module_room(guests: dict[str, Future[Room]]) -> Room:
    """Another one, for the tests of the kernel module."""
    return _when_done(guests["module_room"])


@pytest.fixture(scope="session")
def exact_room(guests: dict[str, Future[Room]]) -> Room:
    """The guest on the instruction clock, for tests that measure."""
    return _when_done(guests["exact_room"])


def _when_done(guest: Future[Room]) -> Room:
    try:
        return guest.result()
    except IpeqlError as error:
        pytest.skip(str(error))
