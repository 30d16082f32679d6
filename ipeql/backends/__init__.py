"""Dataplanes: one package each, behind the contract in ``base``."""
