"""What a path carries, from probes that pass it together with the data: pure."""
