"""The receiving program, for every dataplane that has none of its own: bpf and tun.

``receive.bpf.c`` runs at the ingress of the slaves and lets go on from the bundle's device what
belongs to the bundle; it works without a process. The Python code loads, pins, tells and reads it.
"""
