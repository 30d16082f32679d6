"""The TUN dataplane: a device, and a worker process per bundle that stripes in user space.

This package runs in the daemon, ``device`` and ``wire`` in both processes, ``worker`` in the
worker. The worker continues when the daemon ends. The daemon keeps the device's descriptor open, so
the device stays when a worker ends: the next worker sends the packets that the kernel has queued.
"""
