"""What several keys, several bundles and several files must satisfy together."""
