"""What a caller may send in the place of a change: strategies for hypothesis."""

from hypothesis import strategies as st

TEXT = st.one_of(
    st.text(max_size=20),
    st.text(st.characters(categories=["Cs", "Cc", "Lu"]), max_size=3),
    st.sampled_from(
        [
            *("ipeql0", "eth1", "auto", "5ms", "100Mbit", "bw_load", "wwan*", "packets"),
            *("when-full", "ef", "duplicate"),
        ]
    ),
)
KEYS = st.one_of(
    TEXT,
    st.sampled_from(
        [
            "bundle",
            "enslave",
            "free",
            "set",
            "set-slave",
            "name",
            "match",
            "mac",
            "driver",
            "bandwidth",
            "lag",
            "overhead",
            "via",
            "via6",
            "up",
            "use",
            "method",
            "mtu",
            "count",
            "copies",
            "classes",
            "dscp",
        ]
    ),
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)
CHANGES = st.fixed_dictionaries(
    {"bundle": TEXT}, optional=dict.fromkeys(("enslave", "free", "set", "set-slave"), ANYTHING)
)
