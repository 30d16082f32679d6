"""One link as the prober uses it: its sockets, packets, counters and neighbours."""
