"""The worker process of one bundle: ``python -P -m ipeql.backends.tun.worker`` is its loop.

The daemon's side of it is beside this room.
"""
