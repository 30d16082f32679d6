"""Measurements: scenarios as data, candidates side by side, results as JSON, a report of them."""
