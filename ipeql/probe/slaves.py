"""The slaves of one bundle with their sessions, ports and filters: as its task says."""

from collections.abc import Iterable, Iterator
from ipaddress import ip_network

from ipeql.errors import Code, Problem
from ipeql.probe.channel.task import BundleTask, SlaveTask
from ipeql.probe.clock import Clock
from ipeql.probe.far_end import FarEnd
from ipeql.probe.keys import Keys
from ipeql.probe.link.counters import Devices
from ipeql.probe.link.filter import Wanted, program
from ipeql.probe.link.next_hops import NextHops
from ipeql.probe.link.sinks import Sinks
from ipeql.probe.reflector import Reflector
from ipeql.probe.session import Session
from ipeql.probe.slave import Slave
from ipeql.state import Address, ProbeSpec

SHED = 10**9
"""For so long, ns, only far ends are answered after others have asked too much."""


class Slaves:
    """``by_ifindex``: those whose links exist; ``by_session``: the probed ones, by SSID.

    ``problems``: with key files and ports. A slave or session that stays keeps what it knows.
    """

    def __init__(self, clock: Clock, next_hops: NextHops, devices: Devices) -> None:
        self.by_ifindex: dict[int, Slave] = {}
        self.by_session: dict[int, Slave] = {}
        self.reflector: Reflector | None = None
        self.problems: tuple[Problem, ...] = ()
        self._task = BundleTask("", "")
        self._clock = clock
        self._next_hops = next_hops
        self._devices = devices
        self._sinks = Sinks((), ())
        self._held: tuple[object, ...] = ((), ())
        self._far_ends: dict[ProbeSpec, FarEnd] = {}
        self._shed_until = 0

    def update(self, task: BundleTask) -> None:
        """Do what ``task`` says from now on."""
        self._task = task
        if (task.addresses, task.ports) != self._held:
            self._sinks.close()
            self._sinks = Sinks(task.addresses, task.ports)
            self._held = task.addresses, task.ports
        else:
            self._sinks.retry()
        keys = Keys(task.bundle)
        self._renew(task.slaves)
        for slave in self.by_ifindex.values():
            slave.session = self._session(slave, task, keys)
        self.by_session = {each.number: each for each in self.by_ifindex.values() if each.session}
        specs = {each.session.spec for each in self.by_session.values() if each.session}
        self._far_ends = {spec: self._far_ends.get(spec) or FarEnd(spec) for spec in specs}
        for slave in self.by_ifindex.values():
            slave.far_end = self._far_ends[slave.session.spec] if slave.session else None
        self._reflect(task, keys)
        self._filter()
        self.problems = (*keys.problems, *_taken(task.bundle, self._sinks.taken))

    @property
    def port(self) -> int:
        """Return the UDP port that our probes come from."""
        return self._sinks.port

    def heard(self, source: bytes, now: int) -> None:
        """Note a request of a far end, by its address, packed."""
        for spec, far_end in self._far_ends.items():
            if far_end.by_icmp and spec.to.packed == source:
                far_end.heard(now)

    def shed(self, now: int) -> None:
        """Have the requests of others than far ends end in the kernel for a while.

        They would take the time, and the room in the sockets, that far ends need.
        """
        if not self._shed_until:
            self._shed_until = now + SHED
            self._filter()

    def shed_no_more(self, now: int) -> None:
        """Have them come again, if the while is over."""
        if self._shed_until and now >= self._shed_until:
            self._shed_until = 0
            if self.reflector:
                self.reflector.flooded = False
            self._filter()

    def next_hops(self) -> Iterator[tuple[int, bytes]]:
        """Yield the next hops that have to be known: ifindex and address, packed."""
        for ifindex, slave in self.by_ifindex.items():
            if slave.session and slave.tap.has_link_header:
                yield ifindex, slave.next_hop(slave.session.far)

    def close(self) -> None:
        """Close all sockets."""
        for slave in self.by_ifindex.values():
            slave.close()
        self.by_ifindex, self.by_session = {}, {}
        self._sinks.close()

    def _renew(self, tasks: tuple[SlaveTask, ...]) -> None:
        kept: dict[int, Slave] = {}
        for task in tasks:
            slave = self.by_ifindex.pop(task.ifindex, None)
            if slave and not _is_same_link(slave.task, task):
                slave.close()
                slave = None
            try:
                if slave is None:
                    number = _free_number(task, (*self.by_ifindex.values(), *kept.values()))
                    slave = Slave(task, number, self._next_hops, self._devices)
            except OSError:  # it has gone meanwhile
                continue
            slave.task = task
            kept[task.ifindex] = slave
        for slave in self.by_ifindex.values():
            slave.close()
        self.by_ifindex = kept

    def _session(self, slave: Slave, task: BundleTask, keys: Keys) -> Session | None:
        spec = slave.task.probe
        source = task.own_address(spec.to) if spec else None
        key = keys.read(spec.key_file) if spec else None
        if spec is None or source is None or key is None:
            return None
        port = self._sinks.port
        if slave.session and slave.session.made_of == (spec, source, port, key):
            return slave.session
        return Session(slave.number, spec, source, port=port, key=key, clock=self._clock)

    def _reflect(self, task: BundleTask, keys: Keys) -> None:
        key = keys.read(task.key_file)
        far = frozenset(each.probe.to.packed for each in task.slaves if each.probe)
        if not task.ports or key is None:
            self.reflector = None
        elif self.reflector is None or self.reflector.made_of != (far, key):
            self.reflector = Reflector(far, key, self._clock)

    def _filter(self) -> None:
        task, far = self._task, {spec.to for spec in self._far_ends}
        allowed = tuple(map(ip_network, far)) if self._shed_until else task.allowed
        answers = self.reflector is not None
        wanted = Wanted(
            addresses=task.addresses,
            far_ends=tuple(sorted(far, key=str)),
            port=self._sinks.port,
            reflected=task.ports if answers else (),
            allowed=allowed if answers else (),
        )
        code = program(wanted)
        for slave in self.by_ifindex.values():
            slave.tap.let_pass(code)


def _free_number(task: SlaveTask, others: Iterable[Slave]) -> int:
    """Return a number for a slave: its ifindex, or the next one that is free."""
    used = {each.number for each in others}
    number = task.ifindex & 0xFFFF
    while number in used or not number:
        number = (number + 1) & 0xFFFF
    return number


def _is_same_link(one: SlaveTask, other: SlaveTask) -> bool:
    return all(
        getattr(one, each) == getattr(other, each) for each in ("ifindex", "arphrd", "mac", "name")
    )


def _taken(bundle: str, taken: list[tuple[Address, int]]) -> Iterator[Problem]:
    for port in dict.fromkeys(port for _, port in taken):
        message = f"{bundle}: another program answers at UDP port {port} of its address"
        help_ = "end it, or give 'probe' another 'port' at both ends"
        yield Problem(Code.PORT_TAKEN, message, help_, bundle=bundle)
