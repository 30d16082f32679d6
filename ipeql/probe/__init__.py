"""Sessions to far ends and the reflector: the I/O of ipeql.paths."""
