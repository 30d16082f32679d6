"""``ipeql example``: what it prints is valid, and it writes what it prints."""

import json
import re
import shutil
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path

import pytest

import ipeql.examples
from ipeql.config import find_files, load
from ipeql.examples import EXAMPLES, KeyPair, ends_with_keys, files
from tests.unit.cli.command import ROOT, run

UPLINKS = ("eth0", "wwan0", "enx0050b6123456")
"""One more than usual, with the longest name that a link can have."""

GIVEN = [word for uplink in UPLINKS for word in ("--uplink", uplink)]
SERVER = ("--server", "2001:db8::1")
TWO_UPLINKS = ("example", "two-uplinks", *SERVER, *GIVEN)


def written(name: str, out: Path) -> dict[Path, str]:
    """Return the files that the command has written, by their path below ``out``."""
    server = SERVER if EXAMPLES[name].server else ()
    done = run("example", name, *server, *GIVEN, "--out", str(out))
    assert (done.returncode, done.stdout) == (0, "")
    found = {path.relative_to(out): path for path in out.rglob("*") if path.is_file()}
    assert done.stderr == f"ipeql: {len(found)} files in {out}\n"
    return {name: path.read_text() for name, path in found.items()}


@pytest.fixture(scope="module", params=EXAMPLES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory with the files of an example."""
    if EXAMPLES[request.param].server and not shutil.which("wg"):
        pytest.skip("needs wg: apt install wireguard-tools")
    out = tmp_path_factory.mktemp(request.param)
    written(request.param, out)
    return out


def test_every_configuration_loads_without_a_remark(made: Path) -> None:
    ends = sorted(made.iterdir())
    assert len(ends) >= 2
    for end in ends:
        desired = load(find_files([end / "etc/ipeql"]))
        assert not desired.problems
        for bundle in desired.bundles.values():
            assert len(bundle.slaves) == len(UPLINKS)


def test_nft_takes_the_rules(made: Path) -> None:
    enter = ("unshare", "--user", "--map-root-user", "--net")
    if not shutil.which("nft") or subprocess.run([*enter, "true"], check=False).returncode:
        pytest.skip("needs nft and user namespaces: apt install nftables")
    for path in made.rglob("*.nft"):
        # Twice, as at a reload.
        subprocess.run([*enter, "nft", "-c", "-f", path, "-f", path], check=True)


def test_wg_quick_takes_the_tunnels_and_every_key_fits(made: Path) -> None:
    tunnels = list(made.rglob("wireguard/*.conf"))
    if not shutil.which("wg-quick"):
        pytest.skip("needs wg-quick: apt install wireguard-tools")
    keys: set[str] = set()
    peers: set[str] = set()
    for path in tunnels:
        stripped = subprocess.run(
            ["wg-quick", "strip", path], check=True, capture_output=True, text=True
        ).stdout
        assert stripped.count("[") >= 2
        assert len(path.stem) <= 15
        (private,) = re.findall(r"^PrivateKey = (.*)$", stripped, re.M)
        peers |= set(re.findall(r"^PublicKey = (.*)$", stripped, re.M))
        keys.add(
            subprocess.run(
                ["wg", "pubkey"], input=private, check=True, capture_output=True, text=True
            ).stdout.strip()
        )
    assert peers == keys


def test_the_units_name_what_is_there(made: Path) -> None:
    for path in made.rglob("*.service.d/*.conf"):
        for loaded in re.findall(r"^Exec\w+=/usr/sbin/nft -f (.*)$", path.read_text(), re.M):
            end = made / path.relative_to(made).parts[0]
            assert (end / loaded.removeprefix("/")).exists()
    for path in made.rglob("wireguard/*.conf"):
        assert f"wg-quick@{path.stem}.service" in path.read_text()


def test_keys_are_for_their_owner_only(made: Path) -> None:
    modes = {
        "PRIVATE" if "PrivateKey" in path.read_text() else "public": path.stat().st_mode & 0o777
        for path in made.rglob("*")
        if path.is_file()
    }
    assert modes.pop("PRIVATE", 0o600) == 0o600
    assert modes.pop("public") & 0o444 == 0o444


def test_what_is_printed_is_what_is_written_but_for_the_keys(tmp_path: Path) -> None:
    if not shutil.which("wg"):
        pytest.skip("needs wg: apt install wireguard-tools")
    printed = run(*TWO_UPLINKS)
    shown = json.loads(run(*TWO_UPLINKS, "--json").stdout)["files"]
    assert printed.stdout == "\n".join(f"##### {path}\n{text}" for path, text in shown.items())
    assert "PrivateKey = HOME-PRIVATE-KEY\n" in printed.stdout
    key = re.compile(r"Key = \S+")
    on_disk = {str(path): text for path, text in written("two-uplinks", tmp_path).items()}
    assert {path: key.sub("", text) for path, text in on_disk.items()} == {
        path: key.sub("", text) for path, text in shown.items()
    }
    assert "-KEY" not in "".join(on_disk.values())


def test_nothing_is_overwritten_without_being_told(tmp_path: Path) -> None:
    if not shutil.which("wg"):
        pytest.skip("needs wg: apt install wireguard-tools")
    command = (*TWO_UPLINKS, "--out", str(tmp_path / "out"))
    assert run(*command).returncode == 0
    tunnel = tmp_path / "out/home/etc/wireguard/wg-eth0.conf"
    before = tunnel.read_text()
    done = run(*command)
    assert done.returncode == 1
    assert "is already there [IPQ-D010]" in done.stderr
    assert "--force overwrites the files, with new keys for both ends" in done.stderr
    assert tunnel.read_text() == before
    tunnel.chmod(0o644)
    assert run(*command, "--force").returncode == 0
    assert tunnel.read_text() != before
    assert tunnel.stat().st_mode & 0o777 == 0o600


def test_it_says_what_to_install_for_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = run(*TWO_UPLINKS, "--out", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "[IPQ-D011]" in done.stderr and "help: apt install wireguard-tools" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("three-uplinks",), "'two-cables', 'two-uplinks', 'serial-pair', 'hub'"),
        (("hub", "--server", "vpn.example.org"), "write it like 203.0.113.1"),
        (("hub", "--uplink", "eth0"), "give the option for each uplink"),
        (("hub", "--uplink", "eth0", "--uplink", "eth 1"), "`ip link` shows them"),
        (("hub", "--uplink", "eth0", "--uplink", "eth0"), "two have the same name"),
        (("two-cables", "--server", "203.0.113.1"), "leave out --server"),
        (("hub", "--server", "203.0.113.1", "--out", "x"), "--out needs --uplink LINK"),
        (("hub", "--uplink", "eth0", "--uplink", "eth1", "--out", "x"), "--out needs --server"),
    ],
)
def test_mistakes_are_told_with_their_remedy(arguments: tuple[str, ...], said: str) -> None:
    done = run("example", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_names_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_IPEQL_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "ipeql example two")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert run().stdout == "plain,two-cables\nplain,two-uplinks\n"


def test_an_address_of_either_version_stands_before_its_port() -> None:
    for address, endpoint in (("203.0.113.9", "203.0.113.9"), ("2001:db8::9", "[2001:db8::9]")):
        made = files("two-uplinks", server=ip_address(address))
        assert f"Endpoint = {endpoint}:51000\n" in made["home/etc/wireguard/wg-eth0.conf"]


def test_each_end_has_keys_of_its_own() -> None:
    assert ends_with_keys(files("two-cables")) == []
    ends = ends_with_keys(files("hub"))
    assert ends == ["HUB", "SITE-A", "SITE-B"]
    made = files("hub", keys={end: KeyPair(f"private {end}", f"public {end}") for end in ends})
    site = made["site-a/etc/wireguard/wg-eth0.conf"]
    assert "PrivateKey = private SITE-A\n" in site and "PublicKey = public HUB\n" in site


def test_the_package_has_the_files(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", reason="setuptools is not installed")
    build = f"egg_info --egg-base {tmp_path} build_py --build-lib {tmp_path / 'lib'}"
    subprocess.run(
        [sys.executable, "setup.py", "-q", *build.split()],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    source = Path(ipeql.examples.__file__).parent
    packed = tmp_path / "lib" / "ipeql" / "examples"
    for name in EXAMPLES:
        found = {path.relative_to(source) for path in (source / name).rglob("*") if path.is_file()}
        assert found
        assert {
            path.relative_to(packed) for path in (packed / name).rglob("*") if path.is_file()
        } == found
