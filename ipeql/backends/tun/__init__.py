"""The TUN dataplane: a device, and a worker process per bundle that stripes in user space.

What is here runs in the daemon, and ``device`` and ``wire`` on both sides; ``worker`` is the worker
process. The worker goes on when the daemon dies. The daemon holds the device's descriptor, so the
device outlives a worker that dies: what the kernel queues meanwhile is sent by the next one.
"""
