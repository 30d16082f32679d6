"""What a path is like, from what its probes have seen: pure."""
