"""The ``ipeql`` command: one file a verb."""
