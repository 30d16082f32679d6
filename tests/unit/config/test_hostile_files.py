"""Files that are made to be slow, or to write to the terminal."""

from ipaddress import IPv4Network
from pathlib import Path

import pytest

from ipeql.config import load
from ipeql.config.changes import overlay
from ipeql.errors import ConfigError, no_such_bundle
from ipeql.state import SlaveSpec

COUNT = 200


def test_what_a_link_points_to_is_shown_escaped(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").symlink_to("/gone/\x1b[31m\udcffred")
    with pytest.raises(ConfigError) as refused:
        load([tmp_path / "a.yaml"])
    text = str(refused.value)
    assert r"\x1b[31m\xffred" in text
    assert all(line.isprintable() for line in text.split("\n"))


def test_routes_are_not_held_against_every_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1 MiB of both took more than four minutes."""
    addresses = ",".join(f"10.{n}.0.1/24" for n in range(COUNT))
    lines = [
        *("version: 1", "bundles:", "  ipeql0:", "    method: round_robin"),
        *("    slaves: [{name: eth1}]", f"    addresses: [{addresses}]", "    routes:"),
        *(f"      - {{to: 20.{n}.0.0/16, via: 10.{n}.0.9}}" for n in range(COUNT)),
    ]
    looks: list[None] = []
    contains = IPv4Network.__contains__

    def counted(network: IPv4Network, address: object) -> bool:
        looks.append(None)
        return contains(network, address)

    monkeypatch.setattr(IPv4Network, "__contains__", counted)
    (tmp_path / "a.yaml").write_text("\n".join(lines))
    assert len(load([tmp_path / "a.yaml"]).bundles["ipeql0"].routes) == COUNT
    assert len(looks) < 10 * COUNT
    (tmp_path / "a.yaml").write_text("\n".join(lines).replace("10.7.0.9", "10.255.0.9"))
    with pytest.raises(ConfigError, match=r"10\.255\.0\.9 is in no network of the bundle"):
        load([tmp_path / "a.yaml"])


def test_changes_are_not_held_against_every_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1 MiB of changes over 4000 bundles took more than four minutes."""
    bundles = "".join(
        f"  b{n}: {{method: round_robin, slaves: [{{name: s{n}}}]}}\n" for n in range(COUNT)
    )
    changes = "".join(f"  - {{bundle: b{n}, enslave: {{name: t{n}}}}}\n" for n in range(COUNT))
    (tmp_path / "a.yaml").write_text(f"version: 1\nbundles:\n{bundles}changes:\n{changes}")
    looks: list[None] = []
    identity = overlay._identity

    def counted(slave: SlaveSpec) -> overlay.Identity:
        looks.append(None)
        return identity(slave)

    monkeypatch.setattr(overlay, "_identity", counted)
    found = load([tmp_path / "a.yaml"])
    assert all(len(spec.slaves) == 2 for spec in found.bundles.values())
    assert len(looks) < 20 * COUNT


def test_of_many_bundles_some_are_named() -> None:
    help = no_such_bundle("ipeql0", (f"b{n}" for n in range(4000))).help
    assert help.endswith(" and 3980 more")
    assert len(help) < 200
