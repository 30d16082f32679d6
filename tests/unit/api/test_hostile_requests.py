"""Whatever is sent to the control socket is answered: with a result, or with Problems."""

import asyncio
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ipeql.api.control import ControlServer
from ipeql.errors import Code, Problem
from tests.unit.api import dry
from tests.unit.hostile import ANYTHING, CHANGES, KEYS, TEXT

METHODS = st.sampled_from(["Describe", "Plan", "Reload", "Apply", "Show", "Change", "Revert"])
PARAMETERS = st.fixed_dictionaries(
    {},
    optional={"bundle": TEXT | ANYTHING, "change": CHANGES | ANYTHING, "saved": ANYTHING},
)
REQUESTS = st.one_of(
    st.fixed_dictionaries({"method": METHODS}, optional={"parameters": PARAMETERS}),
    st.fixed_dictionaries({"method": TEXT, "parameters": ANYTHING}),
    st.dictionaries(KEYS | st.just("method"), ANYTHING, max_size=3),
    ANYTHING,
)
LINES = st.one_of(
    REQUESTS.map(lambda request: json.dumps(request).encode()),
    REQUESTS.map(lambda request: json.dumps(request, ensure_ascii=False).encode(errors="replace")),
    st.binary(max_size=40),
).map(lambda line: line.replace(b"\n", b" ") + b"\n")


async def answers(lines: list[bytes]) -> list[dict[str, Any]]:
    with dry.manager() as (manager, runtime):
        async with ControlServer(manager, runtime / "control"), asyncio.timeout(10):
            reader, writer = await asyncio.open_unix_connection(runtime / "control", limit=2**24)
            writer.write(b"".join(lines))
            writer.write_eof()
            found = [json.loads(line) async for line in reader]
            writer.close()
            return found


@settings(deadline=None)
@given(st.lists(LINES, max_size=8))
def test_every_request_is_answered(lines: list[bytes]) -> None:
    found = asyncio.run(answers([*lines, b'{"method": "Describe"}\n']))
    assert len(found) == len(lines) + 1
    for answer in found:
        if "error" in answer:
            problems = [Problem.from_json(each) for each in answer["error"]["problems"]]
            assert problems
            assert Code.INTERNAL not in [problem.code for problem in problems]
            for problem in problems:
                assert all(line.isprintable() for line in problem.render().split("\n"))
        for text in dry.texts(answer):
            text.encode()
    assert found[-1]["result"]["bundles"][0]["name"] == "ipeql0"
