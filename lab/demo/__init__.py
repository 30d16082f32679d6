"""The demo: what IPEQL does for one TCP flow, measured and drawn."""
