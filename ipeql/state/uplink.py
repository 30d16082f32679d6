"""How the packets of a tunnel leave by its uplink: rules of policy routing, and a table each.

``over`` of a slave names its uplink. What is ours of it carries our protocol number and is in our
tables; see docs/adr/0037-over.md.
"""

from dataclasses import dataclass
from ipaddress import ip_network
from typing import NamedTuple

from ipeql.state.values import Address, Network

FIRST_MARK = 0x98000001
LAST_MARK = 0x98000FFF
"""Our firewall marks, and the numbers of our tables.

Below bit 24 they are small, so that they have no bit of those that others test: kube-proxy 0x4000
and 0x8000, mwan3 0x3f00, Tailscale 0xff0000.
"""

RULE_PRIORITY = 98
"""Of our rules: after the table ``local`` (0), before those of others, such as Tailscale's (5210)
and wg-quick's (below 32766)."""

DEFAULTS = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}

_METRIC = 1
_LAST_METRIC = _ALL = 2**32 - 1


def is_our_mark(number: int) -> bool:
    """Say whether a firewall mark, or the number of a table, is one of ours."""
    return FIRST_MARK <= number <= LAST_MARK


class Gateway(NamedTuple):
    """A default route over a link. ``via`` None: the link itself; ``src``: the address it names."""

    version: int
    via: Address | None = None
    src: Address | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of ours: which packets of one IP version look into ``table``.

    Those with ``mark``; or those to ``to`` that have to leave by the link called ``oif``.
    """

    version: int
    table: int
    mark: int = 0
    to: Network | None = None
    oif: str = ""

    def __str__(self) -> str:
        """Return the rule as ip-rule(8) writes it."""
        selector = f"fwmark {self.mark:#x}" if self.mark else f"to {self.to} oif {self.oif}"
        return f"{selector} lookup {self.table:#x}"


@dataclass(frozen=True, slots=True)
class TableRoute:
    """A route of ours in one of our tables. ``ifindex`` 0: it makes ``to`` unreachable.

    A route to somewhere goes before the unreachable one to the same network.
    """

    table: int
    to: Network
    ifindex: int = 0
    via: Address | None = None
    src: Address | None = None

    @property
    def metric(self) -> int:
        """Return its metric."""
        return _METRIC if self.ifindex else _LAST_METRIC

    @property
    def place(self) -> tuple[int, Network, int]:
        """Return what no other route has: table, destination, metric."""
        return self.table, self.to, self.metric


class ForeignRule(NamedTuple):
    """A rule of others that looks at the firewall mark."""

    version: int
    priority: int
    mark: int
    mask: int

    def fits(self, mark: int) -> bool:
        """Say whether packets with a mark are meant."""
        return not (self.mark ^ mark) & self.mask

    def __str__(self) -> str:
        """Return the rule as ip-rule(8) writes it."""
        mask = "" if self.mask == _ALL else f"/{self.mask:#x}"
        return f"priority {self.priority} fwmark {self.mark:#x}{mask}"


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy routing that is there: our rules and tables, and the rules of others for marks.

    ``versions``: the IP versions that the kernel has.
    """

    rules: frozenset[Rule] = frozenset()
    routes: frozenset[TableRoute] = frozenset()
    foreign: frozenset[ForeignRule] = frozenset()
    versions: frozenset[int] = frozenset({4, 6})
