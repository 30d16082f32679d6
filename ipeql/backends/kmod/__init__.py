"""The dataplane of the kernel module: a network device of its own kind, packets stay in the kernel.

The module's sources are in ``kernel/module/``; docs/kmod.md says how to build and load it.
"""
