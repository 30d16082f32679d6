"""Hosts in network namespaces, emulated links between them, and traffic."""
