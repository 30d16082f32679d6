"""The kernel's links, addresses and our routes, over rtnetlink, and the events of their changes.

Both speak of the network namespace of the calling thread.
"""

from ipeql.observe.kernel import snapshot
from ipeql.observe.uplink import look
from ipeql.observe.watcher import Watcher

__all__ = ["Watcher", "look", "snapshot"]
