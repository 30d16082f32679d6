"""Dataplanes: one package each; ``base`` has their common interface."""
