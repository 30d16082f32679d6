"""The rules across several keys, several bundles and several files."""
