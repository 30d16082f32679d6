"""What the daemon and the prober tell each other, and the process itself."""
