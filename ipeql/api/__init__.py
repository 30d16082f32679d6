"""The interfaces of a running IPEQL: the control socket, events, D-Bus."""
