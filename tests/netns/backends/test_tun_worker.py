"""The worker of the TUN dataplane: replaced, found again, and not to be ended by what it meets."""

import asyncio
import contextlib
import errno
import json
import os
import signal
import socket
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from ipeql.backends import upper
from ipeql.backends.tun import client, process, wire
from ipeql.backends.tun.backend import TunBackend
from ipeql.backends.tun.device import open_device
from ipeql.backends.tun.worker.rtnl import Requests
from ipeql.errors import ApplyError
from ipeql.state import BundleTable, SlaveRow
from tests.netns.conftest import Namespace
from tests.netns.two_links import (
    BUNDLE,
    HELLO,
    TABLE,
    TWO_LINKS,
    bundle,
    listener,
    received,
    send,
)

pytestmark = pytest.mark.netns

POLL_NS = 500 * 10**6

OLDER = """import sys
import ipeql

ipeql.__version__ = "0.0.1"
from ipeql.backends.tun.worker import __main__ as worker

sys.exit(worker.main())
"""


def use_module(monkeypatch: pytest.MonkeyPatch, directory: Path, text: str) -> None:
    """Let workers that are started from now on run ``text``."""
    (directory / "another_worker.py").write_text(text)
    monkeypatch.setattr(process, "MODULE", "another_worker")
    monkeypatch.setenv("PYTHONPATH", str(directory))


def worker_pid(runtime: Path) -> int:
    descriptor, pid = client.adopt(runtime / f"tun-{BUNDLE}.sock")
    os.close(descriptor)
    return pid


def arrived(sock: socket.socket) -> int:
    """Return how many frames of ours have come."""
    count = 0
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while frame := sock.recv(2000):
            count += frame.endswith(HELLO)
    return count


def test_a_worker_of_another_version_is_replaced_without_loss(
    namespace: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    namespace.ip(*TWO_LINKS)
    changes: list[str] = []
    backend = TunBackend(tmp_path, lambda _, what: changes.append(what))

    async def body() -> None:
        with monkeypatch.context() as patch:
            use_module(patch, tmp_path, OLDER)
            await backend.create(BUNDLE)
        await backend.configure(BUNDLE, TABLE)
        setup = (f"link set {BUNDLE} up", f"address add 10.9.0.1/24 dev {BUNDLE}")
        await asyncio.to_thread(namespace.ip, *setup)
        older = worker_pid(tmp_path)
        sent, stop = 0, False
        with (
            closing(listener("far1")) as first,
            closing(listener("far2")) as second,
            closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock,
        ):
            sock.connect(("10.9.0.2", 9))

            async def stream() -> None:
                nonlocal sent
                while not stop:
                    sock.send(HELLO)
                    sent += 1
                    await asyncio.sleep(0.001)

            streaming = asyncio.create_task(stream())
            assert await backend.observe() == {}
            await backend.create(BUNDLE)
            await backend.configure(BUNDLE, TABLE)
            await asyncio.sleep(0.1)
            stop = True
            await streaming
            assert (await backend.observe())[BUNDLE].table == TABLE
            with pytest.raises(ProcessLookupError):
                os.kill(older, 0)
            assert arrived(first) + arrived(second) == sent
        assert changes == ["replacing the worker: it is of another version"]
        await backend.destroy(BUNDLE)

    namespace.run(body)


@pytest.mark.parametrize("answer", [b"\xff", b"[]", b"{}", b'{"table": 7, "pid": "x"}'])
def test_an_answer_that_cannot_be_understood_is_a_problem(
    namespace: Namespace, tmp_path: Path, answer: bytes
) -> None:
    path = tmp_path / f"tun-{BUNDLE}.sock"
    backend = TunBackend(tmp_path)

    def serve(server: socket.socket) -> None:
        with closing(server):
            while True:
                try:
                    asked, _ = server.accept()
                    with closing(asked):
                        asked.recv(1 << 18)
                        asked.send(answer)
                except OSError:
                    return

    async def body() -> None:
        server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        server.bind(str(path))
        server.listen()
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        try:
            assert await backend.observe() == {}
            with pytest.raises(ApplyError):
                await backend.statistics(BUNDLE)
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
        await backend.create(BUNDLE)
        assert (await backend.observe()).keys() == {BUNDLE}
        await backend.destroy(BUNDLE)

    namespace.run(body)


def test_a_stuck_worker_of_an_earlier_daemon_is_replaced(
    namespace: Namespace, tmp_path: Path
) -> None:
    async def body() -> None:
        earlier = TunBackend(tmp_path)
        await earlier.create(BUNDLE)
        pid = worker_pid(tmp_path)
        await earlier.close()
        os.kill(pid, signal.SIGSTOP)
        backend = TunBackend(tmp_path)
        await backend.create(BUNDLE)
        assert worker_pid(tmp_path) != pid
        await backend.destroy(BUNDLE)

    namespace.run(body)


def test_the_current_directory_is_not_searched_for_the_worker(
    namespace: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = tmp_path / "ipeql"
    foreign.mkdir()
    (foreign / "__init__.py").write_text("open('was_run', 'w').close()")
    monkeypatch.chdir(tmp_path)

    async def body() -> None:
        backend = TunBackend(tmp_path / "run")
        await backend.create(BUNDLE)
        await backend.destroy(BUNDLE)

    namespace.run(body)
    assert not (tmp_path / "was_run").exists()


SLOW = """import sys, time
time.sleep(3)
from ipeql.backends.tun.worker import __main__ as worker
sys.exit(worker.main())
"""


def test_a_worker_that_starts_slowly_is_waited_for(
    namespace: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.TIMEOUT_S < 3
    use_module(monkeypatch, tmp_path, SLOW)

    async def body() -> None:
        backend = TunBackend(tmp_path)
        await backend.create(BUNDLE)
        assert (await backend.observe()).keys() == {BUNDLE}
        await backend.destroy(BUNDLE)

    namespace.run(body)


def test_a_worker_that_ends_at_once_is_no_long_wait(
    namespace: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_module(monkeypatch, tmp_path, "raise SystemExit(3)\n")

    async def body() -> None:
        backend = TunBackend(tmp_path)
        with pytest.raises(ApplyError):
            await backend.create(BUNDLE)
        assert BUNDLE not in {name for _, name in socket.if_nameindex()}

    namespace.run(body, timeout=10)


def test_creating_a_bundle_asks_no_other_one(
    namespace: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    request = client.request

    def counting(path: Path, do: str, fields: dict[str, object] | None = None) -> object:
        asked.append(path.name)
        return request(path, do, fields)

    monkeypatch.setattr(client, "request", counting)

    async def body() -> None:
        backend = TunBackend(tmp_path)
        names = [f"ipeql{number}" for number in range(4)]
        for name in names[:3]:
            await backend.create(name)
        asked.clear()
        await backend.create(names[3])
        assert set(asked) == {f"tun-{names[3]}.sock"}
        for name in names:
            await backend.destroy(name)

    namespace.run(body)


def test_a_table_that_is_refused_changes_nothing(namespace: Namespace, tmp_path: Path) -> None:
    namespace.ip(*TWO_LINKS)

    async def body() -> None:
        backend = TunBackend(tmp_path)
        async with bundle(backend, namespace):
            unknown = replace(TABLE, stripe_unit="packet", slaves=(SlaveRow(4711, "none"),))
            with pytest.raises(ApplyError):
                await backend.configure(BUNDLE, unknown)
            assert (await backend.observe())[BUNDLE].table == TABLE
            path = tmp_path / f"tun-{BUNDLE}.sock"
            wrong = {"table": json.loads(wire.encode({"slaves": 3}))}
            with pytest.raises(client.WorkerError):
                client.request(path, "configure", wrong)
            assert (await backend.observe())[BUNDLE].table == TABLE

    namespace.run(body)


def test_time_passes_for_the_method_before_the_packet_that_came_meanwhile(
    namespace: Namespace, tmp_path: Path
) -> None:
    """Of two packets a second apart, both take the fastest slave, however late they are read."""
    namespace.ip(*TWO_LINKS)
    slow, fast = SlaveRow(11, "eth1", bandwidth=10**7), SlaveRow(12, "eth2", bandwidth=2 * 10**7)
    table = BundleTable(
        "bw_poll", (("poll_interval", POLL_NS),), poll_interval=POLL_NS, slaves=(slow, fast)
    )

    async def body() -> None:
        backend = TunBackend(tmp_path)
        async with bundle(backend, namespace, table):
            with closing(listener("far2")) as sock:
                await asyncio.to_thread(send, "10.9.0.2", 1)
                await asyncio.to_thread(received, sock)
                pid = worker_pid(tmp_path)
                os.kill(pid, signal.SIGSTOP)
                await asyncio.to_thread(send, "10.9.0.2", 1)
                await asyncio.sleep(2 * POLL_NS / 10**9)
                os.kill(pid, signal.SIGCONT)
                await asyncio.to_thread(received, sock)

    namespace.run(body)


def test_a_neighbour_that_the_kernel_refuses_is_no_error(namespace: Namespace) -> None:
    namespace.ip(*TWO_LINKS)

    async def body() -> None:
        requests = Requests()
        for number in range(1, 1500):
            requests.use_neighbour(11, socket.inet_pton(socket.AF_INET6, f"fd00:9::1:{number:x}"))
        for address in ("0.0.0.0", "127.0.0.1", "240.0.0.1", "255.255.255.255"):
            requests.use_neighbour(11, socket.inet_aton(address))
            requests.expect_neighbour(11, socket.inet_aton(address))
        for address in ("::", "::1", "ff02::1", "::ffff:1.2.3.4"):
            requests.use_neighbour(11, socket.inet_pton(socket.AF_INET6, address))
            requests.neighbour(11, socket.inet_pton(socket.AF_INET6, address))
        assert requests.link(11).running
        assert not requests.link(4711).running

    namespace.run(body)


def test_a_full_neighbour_table_costs_the_packets_to_bad_destinations_alone(
    namespace: Namespace, tmp_path: Path
) -> None:
    namespace.ip(*TWO_LINKS)

    def scan() -> None:
        with closing(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)) as sock:
            sock.setblocking(False)
            for number in range(1500):
                try:
                    sock.sendto(b"x", (f"fd00:9::1:{number:x}", 9))
                except OSError as error:
                    assert error.errno in (errno.EAGAIN, errno.ENOBUFS)

    async def body() -> None:
        backend = TunBackend(tmp_path)
        async with bundle(backend, namespace):
            pid = worker_pid(tmp_path)
            await asyncio.to_thread(scan)
            with closing(listener("far1")) as first, closing(listener("far2")) as second:
                send("10.9.0.2", 2)
                received(first)
                received(second)
            assert worker_pid(tmp_path) == pid

    namespace.run(body)


def test_a_link_without_header_is_used_again_after_it_was_down(
    namespace: Namespace, tmp_path: Path
) -> None:
    async def body() -> None:
        descriptor = open_device("tun1")
        try:
            await asyncio.to_thread(namespace.ip, "link set tun1 up")
            row = SlaveRow(socket.if_nametoindex("tun1"), "tun1", overhead=0)
            backend = TunBackend(tmp_path)
            async with bundle(backend, namespace, BundleTable("round_robin", slaves=(row,))):
                for _ in range(3):
                    await asyncio.to_thread(namespace.ip, "link set tun1 down")
                    await asyncio.sleep(0.2)
                    await asyncio.to_thread(namespace.ip, "link set tun1 up")
                    await asyncio.sleep(0.2)
                    for to in ("10.9.0.2", "fd00:9::2"):
                        send(to, 1)
                        await asyncio.wait_for(hello(descriptor), 3)
        finally:
            os.close(descriptor)

    namespace.run(body)


async def hello(descriptor: int) -> None:
    """Wait until a packet of ours leaves by a TUN device."""
    while True:
        try:
            if os.read(descriptor, 2000).endswith(HELLO):
                return
        except BlockingIOError:
            await asyncio.sleep(0.01)


def test_without_macvlan_the_device_is_a_tun_device(
    namespace: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    namespace.ip(*TWO_LINKS)

    async def refuse(*_: object) -> int:
        raise NetlinkError(errno.EOPNOTSUPP)

    monkeypatch.setattr(upper, "put_upon", refuse)

    async def body() -> None:
        with closing(listener("far1")) as first, closing(listener("far2")) as second:
            async with bundle(TunBackend(tmp_path), namespace):
                send("10.9.0.2", 2)
                for sock in (first, second):
                    assert received(sock)[:6] == bytes.fromhex("020000000002")
                assert not upper.lower(BUNDLE)

    namespace.run(body)
