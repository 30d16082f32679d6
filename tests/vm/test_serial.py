"""Serial lines, in the emulated kernel on the instruction clock."""

import pytest

from tests.vm.room import TIMEOUT_S, Room

pytestmark = [pytest.mark.vm, pytest.mark.timeout(TIMEOUT_S + 60)]

FILE = "tests/vm/serial_inside.py"
NODES = (
    "test_four_lines_carry_what_eql_makes_of_them",
    "test_when_a_line_hangs_up_the_others_carry_on",
    "test_a_line_that_is_redialled_is_used_again",
    "test_a_lone_keystroke_takes_the_fastest_line",
)


@pytest.mark.parametrize("node", [f"{FILE}::{name}" for name in NODES], ids=NODES)
def test_inside(node: str, exact_room: Room) -> None:
    exact_room.check(node)
