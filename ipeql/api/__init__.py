"""How a running IPEQL is asked: the control socket, events, D-Bus."""
