"""IPEQL as a service of systemd: the journal, message ids, notify, the unit."""
