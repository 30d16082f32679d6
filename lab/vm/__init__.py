"""Debian's kernel under emulation."""
