"""What arrives on several sockets is told of once, and taken by whom it is for."""

import asyncio
import socket
from contextlib import closing
from functools import partial

from ipeql.probe.inlet import Inlet


def test_each_takes_its_own_and_a_full_batch_is_no_end() -> None:
    async def body() -> None:
        told, taken = asyncio.Event(), list[tuple[str, bytes]]()

        def take(name: str, end: socket.socket) -> bool:
            taken.append((name, end.recv(10)))
            return name == "full"

        inlet = Inlet(told.set)
        ends = {name: socket.socketpair(type=socket.SOCK_DGRAM) for name in ("full", "short")}
        with closing(inlet):
            for name, (near, _) in ends.items():
                inlet.put({near.fileno(): partial(take, name, near)})
            inlet.wait()
            assert not inlet.take()
            for _, far in ends.values():
                far.send(b"1")
            await asyncio.wait_for(told.wait(), 10)
            assert inlet.take()
            assert sorted(taken) == [("full", b"1"), ("short", b"1")]
            inlet.drop([ends["full"][0].fileno()])
            for _, far in ends.values():
                far.send(b"2")
            assert not inlet.take()
            assert taken[2:] == [("short", b"2")]
        for pair in ends.values():
            for each in pair:
                each.close()

    asyncio.run(body())


def test_who_rests_is_told_nothing() -> None:
    async def body() -> None:
        told = list[bool]()
        inlet = Inlet(lambda: told.append(True))
        near, far = socket.socketpair(type=socket.SOCK_DGRAM)
        with closing(near), closing(far), closing(inlet):
            inlet.put({near.fileno(): lambda: bool(near.recv(10))})
            far.send(b"1")
            inlet.wait()
            inlet.rest()
            await asyncio.sleep(0.01)
            assert not told
            assert inlet.take()

    asyncio.run(body())
