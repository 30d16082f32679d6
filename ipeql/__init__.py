"""IPEQL: stripe the IP packets of one interface over several unequal links."""

__version__ = "0.1.0"
