"""Two hosts and the links between them."""

import itertools
import json
import os
import re
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from pathlib import Path
from subprocess import PIPE, Popen
from types import FrameType, TracebackType
from typing import Self

from ipeql.backends.ebpf import pins
from lab import module
from lab.network import netns
from lab.network.host import SYSCTLS, Host
from lab.network.shaper import Shape

NO_IPV6 = {"net/ipv6/conf/default/disable_ipv6": "1"}
_OURS = re.compile(r"\Aipeql-(\d+)-\d+-[abm]\Z")
_serial = itertools.count(1)


class Lab:
    """Hosts ``a`` and ``b`` joined by links; a context manager that leaves nothing behind.

    One link for each of ``shapes``, called ``names`` (default eth1, eth2, ...) in both hosts. None
    is a plain veth pair; a :class:`Shape` goes through a link emulator in a middle namespace, with
    a veth pair to each host. Link n has 10.77.n.1/24 and fd77:n::1/64 in ``a``, 10.77.n.2/24 and
    fd77:n::2/64 in ``b``. Inside the context SIGTERM raises SystemExit. Needs root.
    """

    def __init__(self, shapes: Sequence[Shape | None], names: Sequence[str] = ()) -> None:
        prefix = f"ipeql-{os.getpid()}-{next(_serial)}"
        self.a = Host("a", f"{prefix}-a")
        self.b = Host("b", f"{prefix}-b")
        self.middle = Host("middle", f"{prefix}-m")
        self.names = tuple(names) or tuple(f"eth{n}" for n in range(1, len(shapes) + 1))
        self._shapes = dict(zip(self.names, shapes, strict=True))
        self._emulators: dict[str, Popen[str]] = {}
        self._indexes = itertools.count(1000)
        self._built = ExitStack()

    def __enter__(self) -> Self:
        """Build hosts and links; what was built is removed when something fails (OSError)."""
        with ExitStack() as stack:
            stack.enter_context(_sigterm_raises())
            for host, sysctls in ((self.a, SYSCTLS), (self.b, SYSCTLS), (self.middle, NO_IPV6)):
                stack.callback(host.destroy)
                host.create(sysctls)
            for link in self.names:
                self.create_link(link)
            self._built = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove everything."""
        self._built.close()

    def address(self, host: Host, link: str, version: int = 4) -> IPv4Interface | IPv6Interface:
        """Return the address ``host`` has on ``link``, with its prefix length."""
        number = self.names.index(link) + 1
        last = 1 if host is self.a else 2
        text = f"10.77.{number}.{last}/24" if version == 4 else f"fd77:{number}::{last}/64"
        return ip_interface(text)

    def create_link(self, link: str) -> None:
        """Make a link that is in none of the hosts (any more) and set it up."""
        shape = self._shapes[link]
        if shape is None:
            self._pair(self.a, link, self.b, link)
        else:
            left, right = self._middle_ends(link)
            for host, end in ((self.a, left), (self.b, right)):
                self._pair(host, link, self.middle, end)
                self.middle.set_up(end)
                host.segment_in_software(link)
            self._emulators[link] = self._start_emulator(left, right, shape)
        for host in (self.b, self.a):
            for version in (4, 6):
                host.add_address(link, self.address(host, link, version))
            host.set_up(link)
        for host in (self.a, self.b):
            host.wait_running(link)

    def _pair(self, host: Host, name: str, peer: Host, peer_name: str) -> None:
        # The kernel may be a second late with the carrier of a veth whose peer has the same index.
        index = next(self._indexes)
        far = {"ifname": peer_name, "net_ns_fd": peer.netns}
        host.netlink(lambda ipr: ipr.link("add", ifname=name, index=index, kind="veth", peer=far))

    def _middle_ends(self, link: str) -> tuple[str, str]:
        number = self.names.index(link) + 1
        return f"a{number}", f"b{number}"

    def _start_emulator(self, left: str, right: str, shape: Shape) -> Popen[str]:
        arguments = (left, right, json.dumps(asdict(shape)))
        command = module("lab.network.emulator", *arguments)
        process = self.middle.popen(*command, stdin=PIPE, stdout=PIPE)
        _answer(process)
        return process

    def shape(
        self, link: str, *, towards: Host | None = None, **changes: float | str | None
    ) -> list[dict[str, int]]:
        """Change fields of an emulated link's :class:`Shape`; without any, only look.

        ``towards``: only of the direction to that host. Return frames forwarded, dropped and lost
        so far, of a to b and of b to a. KeyError where the link is a plain veth pair.
        """
        process = self._emulators[link]
        assert process.stdin
        numbers = [n for n, host in enumerate((self.b, self.a)) if towards in (None, host)]
        process.stdin.write(json.dumps([numbers, changes]) + "\n")
        process.stdin.flush()
        return _answer(process)

    def delete_link(self, link: str) -> None:
        """Delete a link from both hosts, as if both devices were unplugged."""
        if link in self._emulators:
            self._emulators.pop(link).communicate()
            self.b.delete(link)
        self.a.delete(link)

    def set_carrier(self, host: Host, link: str, carrier: bool) -> None:
        """Give or take ``host``'s carrier on ``link``, by its peer."""
        if link in self._emulators:
            left, right = self._middle_ends(link)
            self.middle.set_up(left if host is self.a else right, carrier)
        else:
            peer = self.b if host is self.a else self.a
            peer.set_up(link, carrier)
        host.wait_running(link, carrier)

    def plain_receiver(self, back: str = "") -> None:
        """Make ``b`` an ordinary receiver at 10.9.0.2 and fd00:9::2, both on its ``lo``.

        It answers 10.9.0.1 and fd00:9::1, the addresses of a bundle in ``a``, over the link
        ``back``, by default the first.
        """
        link = back or self.names[0]
        for version, receiver, sender in (
            (4, "10.9.0.2/32", "10.9.0.1/32"),
            (6, "fd00:9::2/128", "fd00:9::1/128"),
        ):
            self.b.add_address("lo", ip_interface(receiver))
            gateway = str(self.address(self.a, link, version).ip)
            self.b.add_route(link, sender, gateway)

    @staticmethod
    def sweep() -> None:
        """Remove what labs left whose process was killed: namespaces, with processes and pins."""
        for name in netns.names():
            match = _OURS.match(name)
            if match and not Path("/proc", match[1]).exists():
                pinned = netns.inside(name, pins.directory)
                netns.end(name)
                pins.remove_tree(pinned)


def _answer(emulator: Popen[str]) -> list[dict[str, int]]:
    assert emulator.stdout
    statistics: list[dict[str, int]] = json.loads(emulator.stdout.readline())
    return statistics


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Have SIGTERM raise SystemExit where nobody handles it, so that the context ends properly."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        yield
        return
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
