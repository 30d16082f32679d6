"""The dataplane of the kernel module: its own kind of network device.

The module's sources are in ``kernel/module/``; docs/kmod.md says how to build and load it.
"""
