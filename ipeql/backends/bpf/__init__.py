"""The eBPF dataplane: packets are redirected to the slaves inside the kernel.

``ipeql.bpf.c`` is the dataplane itself and needs no process to go on; ``ipeql_methods.h`` has the
striping methods. The Python here loads, pins, configures and reads it.
"""
