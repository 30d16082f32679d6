"""The eBPF dataplane: packets are redirected to the slaves inside the kernel.

``ipeql.bpf.c`` is the dataplane; it works without a process. ``ipeql_methods.h`` has the striping
methods. The Python code loads, pins, configures and reads it.
"""
