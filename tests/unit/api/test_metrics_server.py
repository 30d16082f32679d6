"""Metrics by HTTP: who gets what, and that no client and no address hinders anybody else."""

import asyncio
import http.client
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipeql.api import metrics
from ipeql.api.metrics import MetricsServer
from ipeql.api.places import EACH
from ipeql.documents.openmetrics import OPENMETRICS, TEXT
from ipeql.errors import ApplyError, Code, Mark, Problem
from ipeql.state import Endpoint

STATUS = json.loads((Path(__file__).parents[2] / "golden" / "cli" / "status.json").read_text())
LOOPBACK = ip_address("127.0.0.1")
GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n"


def free() -> Endpoint:
    """Return an endpoint at which nobody listens."""
    with socket.socket() as probe:
        probe.bind((str(LOOPBACK), 0))
        return Endpoint(LOOPBACK, probe.getsockname()[1])


class Machine:
    """What is measured, and what the server has told of."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = STATUS
        self.fault: Exception | None = None
        self.readings = 0
        self.changes = 0
        self.hold = asyncio.Event()
        self.hold.set()

    async def status(self) -> dict[str, Any]:
        self.readings += 1
        await self.hold.wait()
        if self.fault:
            raise self.fault
        return self.document

    def changed(self) -> None:
        self.changes += 1


def serve(
    use: Callable[[Machine, MetricsServer, Endpoint], Awaitable[None]],
    endpoint: Endpoint | None = None,
) -> None:
    async def run() -> None:
        machine, at = Machine(), endpoint or free()
        server = MetricsServer(machine.status, machine.changed)
        server.listen(at)
        try:
            async with asyncio.timeout(20):
                await use(machine, server, at)
        finally:
            await server.close()

    asyncio.run(run())


@asynccontextmanager
async def connected(
    at: Endpoint,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(str(at.address), at.port, limit=2**24)
    try:
        yield reader, writer
    finally:
        writer.close()


async def ask(at: Endpoint, request: bytes) -> bytes:
    """Return all that is answered; empty where the connection is reset."""
    async with connected(at) as (reader, writer):
        writer.write(request)
        try:
            return await reader.read()
        except ConnectionError:
            return b""


async def get(at: Endpoint, accept: str = "") -> tuple[int, str, str]:
    """Return status, content type and body, as a client reads them that is not ours."""

    def fetch() -> tuple[int, str, str]:
        connection = http.client.HTTPConnection(str(at.address), at.port, timeout=10)
        connection.request("GET", "/metrics", headers={"Accept": accept} if accept else {})
        answer = connection.getresponse()
        found = answer.status, answer.getheader("Content-Type", ""), answer.read().decode()
        connection.close()
        return found

    return await asyncio.to_thread(fetch)


def codes(server: MetricsServer) -> list[Code]:
    return [problem.code for problem in server.problems]


def test_the_client_chooses_the_format() -> None:
    prometheus = "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5"

    async def use(machine: Machine, server: MetricsServer, at: Endpoint) -> None:
        status, content_type, body = await get(at)
        assert (status, content_type) == (200, TEXT)
        assert 'ipeql_slave_sent_bytes_total{bundle="ipeql0",slave="eth1"} 1200000\n' in body
        status, content_type, body = await get(at, prometheus)
        assert (status, content_type) == (200, OPENMETRICS)
        assert body.endswith("# EOF\n")
        assert server.problems == ()

    serve(use)


def test_what_is_not_there_is_said_and_is_no_fault() -> None:
    async def use(machine: Machine, server: MetricsServer, at: Endpoint) -> None:
        for request, status in (
            (b"GET / HTTP/1.1\r\n\r\n", b"404"),
            (b"GET /metrics/ HTTP/1.0\r\n\r\n", b"404"),
            (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
            (b"GET /metrics?name=x HTTP/1.1\r\n\r\n", b"200"),
        ):
            assert (await ask(at, request)).startswith(b"HTTP/1.1 " + status)
        head, _, body = (await ask(at, b"HEAD /metrics HTTP/1.1\r\n\r\n")).partition(b"\r\n\r\n")
        assert b"200 OK" in head and body == b""
        async with connected(at):  # who only looks whether somebody listens
            pass
        assert server.problems == ()

    serve(use)


def test_all_who_ask_at_once_cost_one_reading() -> None:
    async def use(machine: Machine, server: MetricsServer, at: Endpoint) -> None:
        answers = await asyncio.gather(*(ask(at, GET + b"\r\n") for _ in range(EACH)))
        assert {answer[:12] for answer in answers} == {b"HTTP/1.1 200"}
        assert machine.readings == 1

    serve(use)


@pytest.mark.parametrize(
    "fault", [ZeroDivisionError("a bug"), ApplyError(Problem(Code.INTERNAL, "x"))]
)
def test_what_cannot_be_measured_is_an_error_and_the_next_one_is_served(
    fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "FRESH_S", 0.0)

    async def use(machine: Machine, server: MetricsServer, at: Endpoint) -> None:
        machine.fault = fault
        assert (await get(at))[0] in (500, 503)
        machine.fault = None
        assert (await get(at))[0] == 200

    serve(use)


@settings(max_examples=60)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=200),
            st.text(max_size=100).map(lambda text: f"GET {text} HTTP/1.1\r\n\r\n".encode()),
            st.binary(max_size=60).map(lambda some: GET + b"Accept: " + some + b"\r\n\r\n"),
        ),
        min_size=1,
        max_size=10,
    )
)
def test_whatever_is_sent_others_are_served(requests: list[bytes]) -> None:
    async def use(machine: Machine, server: MetricsServer, at: Endpoint) -> None:
        for request in requests:
            async with connected(at) as (reader, writer):
                writer.write(request)
                writer.write_eof()
                with suppress(ConnectionError):
                    assert (await reader.read()).startswith(b"HTTP/1.1 " if request else b"")
        assert (await get(at))[0] == 200
        assert set(codes(server)) <= {Code.METRICS_CLIENT}

    serve(use)


def test_garbage_is_named_once() -> None:
    async def use(machine: Machine, server: MetricsServer, at: Endpoint) -> None:
        for garbage in (b"\x16\x03\x01\r\n\r\n", b"GET\r\n\r\n", GET + b"a" * 9000 + b"\r\n\r\n"):
            assert (await ask(at, garbage))[:12] in (b"HTTP/1.1 400", b"")
        assert codes(server) == [Code.METRICS_CLIENT]
        assert machine.changes == 1

    serve(use)


def test_who_sends_no_request_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_REQUEST_TIMEOUT_S", 0.1)

    async def use(machine: Machine, server: MetricsServer, at: Endpoint) -> None:
        assert (await ask(at, b"GET /met")).startswith(b"HTTP/1.1 400")
        assert codes(server) == [Code.METRICS_CLIENT]

    serve(use)


def test_who_does_not_read_hinders_himself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_ANSWER_TIMEOUT_S", 0.3)
    bundle = STATUS["bundles"][0]
    many = [bundle | {"name": f"ipeql{number}"} for number in range(600)]

    async def use(machine: Machine, server: MetricsServer, at: Endpoint) -> None:
        machine.document = STATUS | {"bundles": many}  # more than the sockets' buffers hold
        with socket.socket() as silent:
            silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            silent.connect((str(at.address), at.port))
            silent.sendall(GET + b"\r\n")
            assert (await get(at))[0] == 200
            while not server.problems:
                await asyncio.sleep(0.01)
        assert codes(server) == [Code.METRICS_CLIENT]
        assert "did not read" in server.problems[0].message

    serve(use)


def test_more_clients_than_there_are_places_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_REQUEST_TIMEOUT_S", 20)

    async def use(machine: Machine, server: MetricsServer, at: Endpoint) -> None:
        idle = [await asyncio.open_connection(str(at.address), at.port) for _ in range(EACH)]
        for _ in range(3):
            assert (await ask(at, b"")).startswith(b"HTTP/1.1 503")
        assert codes(server) == [Code.METRICS_CLIENT]
        assert machine.changes == 1
        for _, writer in idle:
            writer.close()
        while (await ask(at, GET + b"\r\n")).startswith(b"HTTP/1.1 503"):
            await asyncio.sleep(0.01)

    serve(use)


def test_a_fault_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(machine: Machine, server: MetricsServer, at: Endpoint) -> None:
        await ask(at, b"garbage\r\n\r\n")
        assert codes(server) == [Code.METRICS_CLIENT]
        monkeypatch.setattr(metrics, "REMEMBERED_S", 0.0)
        assert server.problems == ()

    serve(use)


def test_a_port_in_use_is_a_problem_until_it_is_free() -> None:
    mark = Mark("/etc/ipeql/a.yaml", 2, 19)

    async def use(machine: Machine, server: MetricsServer, at: Endpoint) -> None:
        with socket.socket() as other:
            other.bind((str(LOOPBACK), 0))
            other.listen()
            taken = Endpoint(LOOPBACK, other.getsockname()[1], mark)
            server.listen(taken)
            (problem,) = server.problems
            assert (problem.code, problem.mark) == (Code.NO_METRICS, mark)
            assert problem.message == f"cannot serve metrics at {taken}: Address already in use"
            server.listen(taken)
            assert codes(server) == [Code.NO_METRICS]
        server.listen(taken)
        assert codes(server) == []
        assert (await get(taken))[0] == 200

    serve(use)


def test_an_address_of_another_host_is_a_problem() -> None:
    async def use(machine: Machine, server: MetricsServer, at: Endpoint) -> None:
        server.listen(Endpoint(ip_address("192.0.2.1"), 9817))
        assert codes(server) == [Code.NO_METRICS]
        assert "Cannot assign requested address" in server.problems[0].message
        server.listen(None)
        assert server.problems == ()

    serve(use)


def test_it_moves_and_stops_and_who_is_being_answered_is_answered() -> None:
    async def use(machine: Machine, server: MetricsServer, at: Endpoint) -> None:
        async with connected(at) as (reader, writer):
            machine.hold.clear()
            writer.write(GET + b"\r\n")
            while not machine.readings:
                await asyncio.sleep(0.01)
            elsewhere = free()
            server.listen(elsewhere)
            machine.hold.set()
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
        with pytest.raises(ConnectionRefusedError):
            await get(at)
        assert (await get(elsewhere))[0] == 200
        server.listen(None)
        with pytest.raises(ConnectionRefusedError):
            await get(elsewhere)
        server.listen(at)
        server.listen(replace(at))
        assert (await get(at))[0] == 200

    serve(use)


def test_all_addresses_are_those_of_both_versions() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("needs IPv6")

    async def use(machine: Machine, server: MetricsServer, at: Endpoint) -> None:
        for each in (LOOPBACK, ip_address("::1")):
            assert (await get(Endpoint(each, at.port)))[0] == 200

    serve(use, Endpoint(ip_address("::"), free().port))
