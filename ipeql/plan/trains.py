"""How many packets the kernel may join to one GSO train on a bundle's device."""

from ipeql.state import MAX_TRAIN, BundleTable

FULL_PACKET = 1500

TRAIN_NS = 10**6
"""Line time of the longest train on the slowest slave.

While a train occupies one slave the others overtake it, and the receiver takes late packets for
lost: two links of 20 Mbit/s with whole 64 KiB trains, 26 ms each, gave 0.95 of their sum, and 1.00
with trains of one packet. TCP itself sizes its trains to 1 ms (net/ipv4/tcp_output.c,
tcp_tso_autosize).
"""


def train_limit(table: BundleTable) -> int:
    """Return how many packets of 1500 bytes a train may have, at least 1, under ``TRAIN_NS``."""
    slowest = min((row.bandwidth for row in table.slaves if row.bandwidth), default=0)
    if not slowest:
        return MAX_TRAIN
    return max(1, min(MAX_TRAIN, slowest * TRAIN_NS // (8 * 10**9 * FULL_PACKET)))
