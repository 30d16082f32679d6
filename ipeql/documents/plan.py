"""What a pass would do, or did, as JSON: the answer of Plan, Apply and Reload."""

from collections.abc import Iterable
from typing import Any

from ipeql.errors import Problem
from ipeql.plan import Action


def plan_document(actions: Iterable[Action], problems: Iterable[Problem]) -> dict[str, Any]:
    """Return the ``ipeql-plan/1`` document; ``text`` of an action is its line for people."""
    return {
        "schema": "ipeql-plan/1",
        "actions": [action.to_json() | {"text": action.describe()} for action in actions],
        "problems": [problem.to_json() for problem in problems],
    }
