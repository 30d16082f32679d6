"""The module's netlink spec, its C header and the messages of the backend say the same."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import ipeql
from ipeql.backends.kmod import family
from ipeql.methods import METHODS, USES

KMOD = Path(__file__).parents[3] / "kernel" / "module"
SPEC = yaml.safe_load((KMOD / "ipeql.yaml").read_text())
TYPES = {
    "string": "asciiz",
    "nest": "Slave",
    "pad": "none",
    "u8": "uint8",
    "u32": "uint32",
    "u64": "uint64",
}


def enums(header: str) -> list[dict[str, int]]:
    """Return the enums of a C header, each as numbers by name."""
    place = next(path for path in (KMOD / header, KMOD.parent / header) if path.exists())
    text = re.sub(r"/\*.*?\*/", "", place.read_text(), flags=re.DOTALL)
    found = []
    for body in re.findall(r"enum\s*\w*\s*\{(.*?)\}", text, re.DOTALL):
        number, numbers = 0, {}
        for entry in filter(None, (part.strip() for part in body.split(","))):
            name, _, value = (part.strip() for part in entry.partition("="))
            number = int(value) if value else number
            numbers[name] = number
            number += 1
        found.append(numbers)
    return found


def c_name(prefix: str, name: str) -> str:
    return (prefix + name).upper().replace("-", "_")


def entry(value: Any) -> str:
    return str(value["name"] if isinstance(value, dict) else value)


def numbered(prefix: str, names: list[str], first: int) -> dict[str, int]:
    return {c_name(prefix, name): number for number, name in enumerate(names, first)}


@pytest.mark.parametrize("attributes", SPEC["attribute-sets"], ids=lambda each: each["name"])
def test_attributes(attributes: dict[str, Any]) -> None:
    prefix = attributes["name-prefix"]
    names = [attribute["name"] for attribute in attributes["attributes"]]
    wanted = numbered(prefix, names, 1)
    end = {c_name("__" + prefix, "max"): len(names) + 1}
    assert wanted | end in enums("ipeql_netlink.h")
    message: Any = family.BundleMessage
    nla_map = (message if attributes["name"] == "bundle" else message.Slave).nla_map
    found = {name: number for number, (name, _) in enumerate(nla_map) if number}
    assert found == wanted
    for attribute, (_, kind) in zip(attributes["attributes"], nla_map[1:], strict=True):
        hints = {"ipv4": "ip4addr", "ipv6": "ip6addr"}
        if attribute["name"] == "ifname" and attributes["name"] == "slave":
            assert kind == "cdata"  # a name is bytes
            continue
        assert kind == (TYPES.get(attribute["type"]) or hints[attribute["display-hint"]])


@pytest.mark.parametrize("definition", SPEC["definitions"], ids=lambda each: each["name"])
def test_enums(definition: dict[str, Any]) -> None:
    names = [entry(value) for value in definition["entries"]]
    wanted = numbered(definition["name-prefix"], names, 0)
    assert wanted in enums(definition.get("header", SPEC["uapi-header"]))
    tables = {
        "method": family.METHODS,
        "count": family.COUNTS,
        "stripe-unit": family.STRIPE_UNITS,
        "receive": family.RECEIVERS,
        "use": USES,
    }
    found = tables[definition["name"]]
    assert [name.replace("_", "-") for name in found] == names


def test_methods_are_those_there_are() -> None:
    assert set(family.METHODS) == METHODS.keys()


def test_operations() -> None:
    operations = SPEC["operations"]
    names = [operation["name"] for operation in operations["list"]]
    wanted = numbered(operations["name-prefix"], names, 1)
    assert wanted | {"__IPEQL_CMD_MAX": len(names) + 1} in enums("ipeql_netlink.h")
    assert tuple(wanted.values()) == (family.BUNDLE_GET, family.BUNDLE_SET, family.BUNDLE_ADJUST)


def test_every_attribute_is_asked_or_told() -> None:
    (bundle, _) = SPEC["attribute-sets"]
    (get, *_) = SPEC["operations"]["list"]
    names = [each["name"] for each in bundle["attributes"] if each["type"] != "pad"]
    assert get["do"]["reply"]["attributes"] == names


def test_family_and_version() -> None:
    header = (KMOD / "ipeql_netlink.h").read_text()
    assert f'#define IPEQL_FAMILY_NAME "{family.FAMILY}"' in header
    assert f"#define IPEQL_FAMILY_VERSION {family.VERSION}" in header
    assert SPEC["name"] == family.FAMILY
    assert f'PACKAGE_VERSION="{ipeql.__version__}"' in (KMOD / "dkms.conf").read_text()
