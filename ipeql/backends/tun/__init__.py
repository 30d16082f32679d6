"""The TUN dataplane: a device, and a worker process per bundle that stripes in user space.

``backend`` runs in the daemon; everything else in the worker. The worker goes on when the daemon
dies, and the daemon holds the device's descriptor, so the device outlives a worker that dies: what
the kernel queues meanwhile is sent by the next one.
"""
