"""The worker process of one bundle: ``python -P -m ipeql.backends.tun.worker`` runs it.

The daemon's part is in the parent package.
"""
