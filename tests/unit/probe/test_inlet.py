"""What arrives on several sockets is told of once, and taken by whom it is for."""

import asyncio
import socket
from contextlib import closing
from functools import partial

from ipeql.probe.inlet import ROUNDS, Inlet


def test_links_are_taken_from_in_turn_and_not_for_ever() -> None:
    async def body() -> None:
        told, taken = asyncio.Event(), list[tuple[str, bytes]]()

        def take(name: str, end: socket.socket) -> None:
            taken.append((name, end.recv(10)))

        inlet = Inlet(told.set)
        ends = {name: socket.socketpair(type=socket.SOCK_DGRAM) for name in ("flooded", "calm")}
        with closing(inlet):
            for name, (near, _) in ends.items():
                inlet.put({near.fileno(): partial(take, name, near)})
            inlet.wait()
            assert not inlet.take()
            for _ in range(ROUNDS + 1):
                ends["flooded"][1].send(b"1")
            ends["calm"][1].send(b"1")
            await asyncio.wait_for(told.wait(), 10)
            assert inlet.take()
            assert sorted(taken[:2]) == [("calm", b"1"), ("flooded", b"1")]
            assert len(taken) == ROUNDS + 1
            inlet.drop([ends["flooded"][0].fileno()])
            ends["calm"][1].send(b"2")
            assert not inlet.take()
            assert taken[ROUNDS + 1 :] == [("calm", b"2")]
        for pair in ends.values():
            for each in pair:
                each.close()

    asyncio.run(body())


def test_who_rests_is_told_nothing() -> None:
    async def body() -> None:
        told, taken = list[bool](), list[bytes]()
        inlet = Inlet(lambda: told.append(True))
        near, far = socket.socketpair(type=socket.SOCK_DGRAM)
        with closing(near), closing(far), closing(inlet):
            inlet.put({near.fileno(): lambda: taken.append(near.recv(10))})
            far.send(b"1")
            inlet.wait()
            inlet.rest()
            await asyncio.sleep(0.01)
            assert not told
            assert not inlet.take()
            assert taken == [b"1"]

    asyncio.run(body())
