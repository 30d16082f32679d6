"""The tree with IPEQL in it, a lab of two links, and a machine booted there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.network.hosts import Lab
from tests.system import tree as trees
from tests.system.machine import Machine, overlay

CONFIGURATION = """\
version: 1
bundles:
  ipeql0:
    method: round_robin
    addresses: [10.9.0.1/24]
    slaves:
      - {name: eth1, via: 10.77.1.2}
      - {name: eth2, via: 10.77.2.2}
"""


@pytest.fixture(scope="session")
def installed() -> Iterator[Path]:
    """A Debian tree with IPEQL installed and nothing configured."""
    if reason := trees.missing():
        pytest.skip(reason)
    with overlay(trees.debian()) as tree:
        trees.install(tree)
        trees.nspawn(tree, "systemctl", "disable", "--quiet", "NetworkManager.service")
        yield tree


@pytest.fixture
def tree(installed: Path) -> Iterator[Path]:
    with overlay(installed) as tree:
        yield tree


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab([None, None]) as lab:
        lab.plain_receiver()
        yield lab


@pytest.fixture
def machine(tree: Path, lab: Lab) -> Iterator[Machine]:
    """A machine that boots with a bundle of two links configured and IPEQL enabled."""
    machine = Machine(tree, lab.a)
    machine.write("/etc/ipeql/home.yaml", CONFIGURATION)
    trees.nspawn(tree, "systemctl", "enable", "ipeql.service", "ipeql-wait-online.service")
    with machine:
        yield machine
