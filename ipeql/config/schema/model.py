"""The keys of the configuration, schema version 1: their only table, one row a key.

Loader, state, plan in words, ``show``, ``set``, the options of ``enslave``, JSON Schema and the
documentation all follow from it. The models hold what the file says, in its own spelling; the kind
of a key (:mod:`ipeql.config.schema.kinds`) makes the state's value of it, and the other way round.
"""

from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from ipeql.config.schema.kinds import (
    ADDRESS,
    BANDWIDTH,
    DESTINATION,
    DRIVER,
    DSCP,
    FAR_END,
    GATEWAY,
    LABEL,
    LINK_NAME,
    LISTEN,
    MAC,
    METHOD,
    NEXT_HOP,
    NEXT_HOP6,
    PATH,
    PATTERN,
    SCHEMA_VERSION,
    SWITCH,
    SWITCH_OR_NETWORKS,
    UPLINK,
    choice,
    duration,
    number,
    or_auto,
)
from ipeql.config.schema.values import fault
from ipeql.errors import Code
from ipeql.methods import MAX_SLAVES, USES
from ipeql.state import CLASS_METHODS, MOST_CLASSES, STAMP_PORT

MILLISECOND = 10**6
MINUTE = 60 * 10**9

RECREATES = "x-recreates"
"""Keyword of the JSON Schema at a key whose change makes the device anew."""

_DOINGS = ("enslave", "free", "set", "set_slave")


class _Keys(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=lambda name: name.replace("_", "-")
    )


class Match(_Keys):
    """Which links an entry means: every key given has to fit."""

    name: Annotated[str | None, PATTERN] = Field(
        None, description="shell pattern for the name", examples=["wwan*"]
    )
    mac: Annotated[str | None, MAC] = Field(
        None, description="hardware address", examples=["02:00:5e:10:00:01"]
    )
    driver: Annotated[str | None, DRIVER] = Field(
        None, description="kernel driver, as `ethtool -i` shows it", examples=["cdc_mbim"]
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise fault(Code.MISSING_KEY, "this matches nothing", "add name, mac or driver")
        return self


def _without_defaults(schema: dict[str, Any]) -> None:
    for key in schema["properties"].values():
        key.pop("default", None)


class SlaveProbe(_Keys):
    """How the far end is asked over one slave; a key not given is as in the bundle's probe."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    to: Annotated[str | None, FAR_END] = Field(
        None, description="address of the bundle at the other end", examples=["10.9.0.2"]
    )
    by: Annotated[str, choice("auto", "stamp", "icmp", what="protocol")] = Field(
        "auto",
        description="stamp: STAMP (RFC 8762), which IPEQL answers; icmp: echo requests; "
        "auto: STAMP, or ICMP where nobody answers that",
    )
    port: Annotated[int, number(1, 65535, "a port")] = Field(
        STAMP_PORT, description="UDP port that answers STAMP"
    )
    interval: Annotated[str | None, duration(10 * MILLISECOND, 10_000 * MILLISECOND)] = Field(
        None,
        description="shortest time between two probes; "
        "absent: 20 ms while the slave carries traffic, then 200 ms, then 1 s",
        examples=["200ms"],
    )
    key_file: Annotated[str | None, PATH] = Field(
        None,
        description="file whose content is the key that probes and answers are signed with; "
        "absent: they are not signed",
        examples=["/etc/ipeql/probe.key"],
    )


class Probe(SlaveProbe):
    """How the far end is asked whether a slave's path works, and how long it takes."""

    model_config = ConfigDict(json_schema_extra={})

    to: Annotated[str, FAR_END] = Field(
        description="address of the bundle at the other end", examples=["10.9.0.2"]
    )


def _not_empty(what: str, advice: str) -> BeforeValidator:
    """Return the check that a mapping which may be absent is not there without a value."""

    def check(value: object) -> object:
        if value is None:
            raise fault(Code.WRONG_TYPE, f"expected {what}, found nothing", advice)
        return value

    return BeforeValidator(check)


_PROBE_GIVEN = _not_empty("a probe", "write {to: 10.9.0.2}")


class Slave(_Keys):
    """A link to stripe over, or all links that match."""

    name: Annotated[str | None, LINK_NAME] = Field(
        None, description="name of the interface; this or `match`", examples=["eth1"]
    )
    match: Match | None = Field(
        None, description="every link that fits, now or later, instead of one by `name`"
    )
    bandwidth: Annotated[str | dict[str, Any] | None, BANDWIDTH] = Field(
        None,
        description="what the path carries; device: the speed the driver reports; auto, and by "
        "default where there is a probe: it is measured, within `min` and `max` if they are given",
        examples=["100Mbit"],
    )
    lag: Annotated[str | None, or_auto(duration(0, MINUTE))] = Field(
        None,
        description="one-way delay of the path; "
        "auto, and by default where there is a probe: it is measured",
        examples=["5ms"],
    )
    overhead: Annotated[int | None, number(0, 1000, "an overhead")] = Field(
        None,
        description="bytes the wire adds to every IP packet; "
        "absent: 14 on Ethernet, 0 on links without a header",
        examples=[38],
    )
    via: Annotated[str | None, NEXT_HOP] = Field(
        None,
        description="IPv4 next hop on this link; absent: destinations are on-link",
        examples=["192.0.2.1"],
    )
    via6: Annotated[str | None, NEXT_HOP6] = Field(
        None,
        description="IPv6 next hop on this link; absent: destinations are on-link",
        examples=["fe80::1"],
    )
    use: Annotated[str, choice(*USES, what="use")] = Field(
        "always",
        description="when it carries packets; always: whenever it is usable; "
        "when-full: while every usable slave with `always` is full, or there is none; "
        "when-down: while no other slave is usable, and of several only the first",
    )
    over: Annotated[str | None, UPLINK] = Field(
        None,
        description="of a tunnel: the link by which its own packets leave, and by no other; "
        "absent: as the routes say",
        examples=["wwan0"],
    )
    up: Annotated[bool, SWITCH] = Field(True, description="set the link up when it is enslaved")
    probe: Annotated[SlaveProbe | None, _PROBE_GIVEN] = Field(
        None,
        description="how the far end is asked over this slave; "
        "a key that is absent is as in the bundle's probe",
    )

    @field_validator("match", mode="before")
    @classmethod
    def _not_empty(cls, match: object) -> object:
        if match is None:
            message, advice = "expected a match, found nothing", 'write {name: "wwan*"}'
            raise fault(Code.WRONG_TYPE, message, advice)
        return match

    @model_validator(mode="after")
    def _one_link(self) -> Self:
        given = self.model_fields_set & {"name", "match"}
        if len(given) != 1:
            message = "a slave has a name or a match" + (", not both" if given else "")
            advice = "remove one of them" if given else "add name: INTERFACE"
            raise fault(Code.BAD_VALUE if given else Code.MISSING_KEY, message, advice)
        return self


class Route(_Keys):
    """A route through the bundle."""

    to: Annotated[str, DESTINATION] = Field(
        description="destination network; default: every address, of the family of `via` "
        "or of the families of `addresses`",
        examples=["192.168.40.0/24"],
    )
    via: Annotated[str | None, GATEWAY] = Field(
        None, description="gateway at the other end; absent: on-link", examples=["10.9.0.2"]
    )
    metric: Annotated[int | None, number(1, 2**32 - 1, "a metric")] = Field(
        None, description="the lowest is preferred; absent: the kernel's default", examples=[50]
    )


class Class(_Keys):
    """Packets with a method of their own, by the DSCP they have when they enter the bundle."""

    dscp: list[Annotated[int | str, DSCP]] = Field(
        min_length=1,
        description="DSCPs, by name or number, 0 to 63",
        examples=[["ef", "cs5"]],
    )
    method: Annotated[str, choice(*CLASS_METHODS, what="method of a class")] = Field(
        description="duplicate: each packet goes over the two slaves that deliver it first; "
        "bw_lag_val: it goes at once over the slave that delivers it first, and nothing is held"
    )


class Settings(_Keys):
    """The keys of a bundle that a change may set; those not given stay as they are."""

    method: Annotated[str | None, METHOD] = Field(
        None, description="how packets are spread over the slaves"
    )
    count: Annotated[str, choice("bytes", "packets", what="unit")] = Field(
        "bytes", description="what is shared by bandwidth"
    )
    packets_per_slave: Annotated[int, number(1, 2**16 - 1, "a number of packets")] = Field(
        1, description="packets in a row on one slave"
    )
    copies: Annotated[int, number(2, 8, "a number of copies")] = Field(
        2, description="how many slaves each packet goes over, those that deliver it first"
    )
    queue_limit: Annotated[str, duration(0, MINUTE)] = Field(
        "100ms",
        description="a packet that would wait longer for its slave is dropped; "
        "by default the time of four packets on the slowest slave, or the longest lag and the "
        "shortest together, if that is more",
    )
    max_hold: Annotated[str, duration(0, MINUTE)] = Field(
        "500ms",
        description="longest time a packet is held for slower paths; "
        "a path that lags more is not used while there is a better one",
    )
    poll_interval: Annotated[str, duration(10 * MILLISECOND, 60 * MINUTE)] = Field(
        "1s", description="period of housekeeping, such as the decay of `bw_poll`"
    )
    overflow_after: Annotated[str, duration(0, MINUTE)] = Field(
        "20ms",
        description="a slave with more queued than it sends in this time is full; "
        "then the slaves with `use: when-full` help",
    )
    classes: list[Class] = Field(
        [],
        max_length=MOST_CLASSES,
        description="packets with a method of their own, whatever the bundle's is; "
        "the first class that has the packet's DSCP counts",
        examples=[[{"dscp": ["ef", "cs5"], "method": "duplicate"}]],
    )
    min_slaves: Annotated[int, number(1, MAX_SLAVES, "a number of slaves")] = Field(
        1, description="fewer usable slaves: the bundle is degraded; none: down"
    )
    mtu: Annotated[int | str, or_auto(number(576, 65535, "an MTU"))] = Field(
        "auto",
        description="bytes in the largest IP packet; "
        "auto, and at most: the smallest MTU of the slaves",
    )
    stripe_unit: Annotated[
        str, choice("burst", "packet", "flow", "flowlet", what="stripe unit")
    ] = Field(
        "burst",
        description="burst: a GSO train stays together; "
        "packet: every packet on the wire is placed by itself; "
        "flow: a flow, such as a TCP connection, stays on one slave; "
        "flowlet: it may change its slave after a pause",
    )
    receive: Annotated[str, choice("bundle", "slave", what="receiver")] = Field(
        "bundle",
        description="bundle: what comes back through the slaves arrives on the bundle; "
        "slave: it arrives on the slave",
    )
    probe: Annotated[Probe | None, _PROBE_GIVEN] = Field(
        None,
        description="how the far end is asked over every slave; a slave whose path is silent "
        "is not used; absent: only the links' own state counts",
    )
    reflect: Annotated[bool | list[str] | None, SWITCH_OR_NETWORKS] = Field(
        None,
        description="answer the probes that arrive on the slaves from the networks of the bundle "
        "and its far ends; or from these networks; by default where there is a probe",
        examples=[True],
    )


class Bundle(Settings):
    """One virtual interface and the links it stripes over."""

    method: Annotated[str, METHOD] = Field(description="how packets are spread over the slaves")
    slaves: list[Slave] = Field(
        min_length=1,
        max_length=MAX_SLAVES,
        description="the links, in the order of their lag, fastest first",
    )
    backend: Annotated[str, choice("auto", "tun", "bpf", "kmod", what="backend")] = Field(
        "auto",
        description="dataplane; auto: the fastest that is present and can do the method",
        json_schema_extra={RECREATES: True},
    )
    addresses: list[Annotated[str, ADDRESS]] = Field(
        [], description="addresses of the bundle with prefix length", examples=[["10.9.0.1/24"]]
    )
    routes: list[Route] = Field([], description="routes through the bundle")


class Change(_Keys):
    """One thing to do differently than the bundles say; one of the keys after `bundle`."""

    bundle: Annotated[str, LINK_NAME] = Field(description="which bundle", examples=["ipeql0"])
    enslave: Slave | None = Field(
        None, description="a slave to add, or to put in the place of the same one"
    )
    free: Annotated[str | None, LABEL] = Field(
        None, description="a slave to leave out, by its name or pattern", examples=["eth1"]
    )
    set: Settings | None = Field(None, description="keys of the bundle to set")
    set_slave: Slave | None = Field(
        None, description="a slave, by its name or match, and keys of it to set"
    )

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        done = [key for key in _DOINGS if getattr(self, key) is not None]
        if len(done) != 1:
            found = f"both {done[0]} and {done[1]}" if done else "nothing"
            message = f"a change does one thing, this one {found}".replace("_", "-")
            advice = "write one of enslave, free, set and set-slave"
            raise fault(Code.BAD_VALUE if done else Code.MISSING_KEY, message, advice)
        return self


class Metrics(_Keys):
    """Where the daemon serves its metrics, by HTTP at `/metrics`."""

    listen: Annotated[str, LISTEN] = Field(
        description="address and TCP port; whoever can reach it can read the metrics, "
        "there is no authentication",
        examples=["[::1]:9817"],
    )


_METRICS_GIVEN = _not_empty("where metrics are served", 'write {listen: "[::1]:9817"}')


class File(_Keys):
    """One configuration file."""

    version: Annotated[int, SCHEMA_VERSION] = Field(description="version of this schema")
    bundles: dict[Annotated[str, LINK_NAME], Bundle] = Field(
        {}, description="the bundles, by the name of their interface"
    )
    changes: list[Change] = Field([], description="changes of bundles, of this file or others")
    metrics: Annotated[Metrics | None, _METRICS_GIVEN] = Field(
        None, description="serve metrics, in one of the files; absent: they are not served"
    )
