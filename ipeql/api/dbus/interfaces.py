"""The interfaces as their XML describes them: what is served is what is documented."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from xml.etree import ElementTree as Xml

from ipeql.api.dbus.names import (
    BUNDLE,
    INTROSPECTABLE,
    MANAGER,
    OBJECT_MANAGER,
    PROPERTIES,
    SLAVE,
)

_STANDARD = f"""
<node>
 <interface name="{INTROSPECTABLE}">
  <method name="Introspect"><arg name="xml" type="s" direction="out"/></method>
 </interface>
 <interface name="org.freedesktop.DBus.Peer">
  <method name="Ping"/>
  <method name="GetMachineId"><arg name="id" type="s" direction="out"/></method>
 </interface>
 <interface name="{PROPERTIES}">
  <method name="Get">
   <arg name="interface" type="s" direction="in"/><arg name="property" type="s" direction="in"/>
   <arg name="value" type="v" direction="out"/>
  </method>
  <method name="GetAll">
   <arg name="interface" type="s" direction="in"/>
   <arg name="properties" type="a{{sv}}" direction="out"/>
  </method>
  <method name="Set">
   <arg name="interface" type="s" direction="in"/><arg name="property" type="s" direction="in"/>
   <arg name="value" type="v" direction="in"/>
  </method>
  <signal name="PropertiesChanged">
   <arg name="interface" type="s"/><arg name="changed" type="a{{sv}}"/>
   <arg name="invalidated" type="as"/>
  </signal>
 </interface>
</node>
"""

_OBJECT_MANAGER = f"""
<node>
 <interface name="{OBJECT_MANAGER}">
  <method name="GetManagedObjects">
   <arg name="objects" type="a{{oa{{sa{{sv}}}}}}" direction="out"/>
  </method>
  <signal name="InterfacesAdded">
   <arg name="object" type="o"/><arg name="interfaces" type="a{{sa{{sv}}}}"/>
  </signal>
  <signal name="InterfacesRemoved">
   <arg name="object" type="o"/><arg name="interfaces" type="as"/>
  </signal>
 </interface>
</node>
"""


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface: signatures of methods (in, out), properties and signals, by name."""

    name: str
    methods: Mapping[str, tuple[str, str]]
    properties: Mapping[str, str]
    signals: Mapping[str, str]


@cache
def interface(name: str) -> Interface:
    """Return what the XML says of one of our interfaces, or of ObjectManager or the standard."""
    element = next(each for each in _elements() if each.get("name") == name)
    return Interface(
        name,
        {
            str(method.get("name")): (_signature(method, "in"), _signature(method, "out"))
            for method in element.findall("method")
        },
        {str(each.get("name")): str(each.get("type")) for each in element.findall("property")},
        {str(each.get("name")): _signature(each) for each in element.findall("signal")},
    )


def introspection(names: Iterable[str], children: Iterable[str]) -> str:
    """Return the answer of Introspect for an object with the interfaces ``names``."""
    node = Xml.Element("node")
    shown = [*names, PROPERTIES, INTROSPECTABLE, "org.freedesktop.DBus.Peer"]
    node.extend(element for element in _elements() if element.get("name") in shown)
    for child in children:
        Xml.SubElement(node, "node", name=child)
    return Xml.tostring(node, encoding="unicode")


@cache
def _elements() -> tuple[Xml.Element, ...]:
    files = (resources.files(__package__) / f"{name}.xml" for name in (MANAGER, BUNDLE, SLAVE))
    texts = (*(file.read_text() for file in files), _OBJECT_MANAGER, _STANDARD)
    return tuple(element for text in texts for element in Xml.fromstring(text).iter("interface"))


def _signature(member: Xml.Element, direction: str | None = None) -> str:
    arguments = (each for each in member.findall("arg") if each.get("direction") == direction)
    return "".join(str(each.get("type")) for each in arguments)
