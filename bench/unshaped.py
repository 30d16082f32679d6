"""One TCP flow, no shaping: a bundle of two plain links against one plain link.

``python bench/unshaped.py [ROUNDS [BACKEND]]`` alternates both, so that what else the machine does
falls on both, and prints every round, the median ratio and the backend's share of it. Needs root.
"""

import statistics
import sys

from ipeql.lab.hosts import Lab
from ipeql.lab.ipeqld import Ipeqld
from ipeql.lab.traffic import measure_tcp

CONFIGURATION = """\
version: 1
bundles:
  ipeql0:
    method: round_robin
    backend: BACKEND
    addresses: [10.9.0.1/24]
    slaves: [{name: eth1}, {name: eth2}]
"""


def main(rounds: str = "5", backend: str = "auto") -> None:
    """Measure and print; the figures are Gbit/s of payload."""
    with Lab([None, None]) as lab:
        lab.plain_receiver()
        plain_address = str(lab.address(lab.b, "eth1").ip)
        ratios = []
        with Ipeqld(lab.a, CONFIGURATION.replace("BACKEND", backend)):
            for number in range(1, int(rounds) + 1):
                plain = measure_tcp(lab, plain_address, seconds=3).goodput
                bundle = measure_tcp(lab, seconds=3).goodput
                ratios.append(bundle / plain)
                print(
                    f"round {number}: plain {plain / 1e9:5.2f}  bundle {bundle / 1e9:5.2f}"
                    f"  ratio {ratios[-1]:.3f}",
                    flush=True,
                )
    print(f"median ratio of {rounds}: {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
