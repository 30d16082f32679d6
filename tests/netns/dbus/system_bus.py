"""A system bus of the test's own, with the service on it."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from ipeql.api.dbus.names import bundle_path
from lab.network.ipeqld import Ipeqld
from tests.netns.bundle import wait_for

CHECKOUT = Path(__file__).parents[3]
DBUS = CHECKOUT / "dbus"
IPEQL0 = bundle_path("ipeql0")

# What Debian's system.conf says: calls are denied but where a service's own policy allows them.
BUS_CONFIGURATION = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  <policy user="root">
    <allow own="org.freedesktop.PolicyKit1"/>
    <allow send_destination="org.freedesktop.PolicyKit1"/>
  </policy>
  <include>{policy}</include>
</busconfig>
"""


class SystemBus:
    """A dbus-daemon where ``daemon`` looks for the system bus."""

    def __init__(self, daemon: Ipeqld) -> None:
        self.address = f"unix:path={daemon.runtime}/bus"
        self.daemon = daemon
        daemon.runtime.parent.chmod(0o755)
        self._configuration = daemon.runtime / "bus.conf"
        text = BUS_CONFIGURATION.format(
            path=daemon.runtime / "bus", policy=DBUS / "org.ipeql1.conf"
        )
        self._configuration.write_text(text)

    def start(self) -> None:
        """Start the bus and wait until the daemon is on it."""
        (self.daemon.runtime / "bus").unlink(missing_ok=True)
        command = ("dbus-daemon", f"--config-file={self._configuration}", "--nofork", "--nopidfile")
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        wait_for(lambda: "org.ipeql1" in self.run("busctl", "list", "--acquired").stdout)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def run(self, program: str, *arguments: str, user: tuple[str, ...] = ()) -> Any:
        """Run a client and return how it ended."""
        at = 1 if program == "gdbus" else 0  # after its verb
        address = f"--address={self.address}"
        command = (*user, program, *arguments[:at], address, *arguments[at:])
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)

    def call(
        self, path: str, method: str, *arguments: str, user: tuple[str, ...] = ()
    ) -> tuple[str, str]:
        """Call a method by GLib; return what it printed, or the name of the error and its text."""
        target = ("--dest", "org.ipeql1", "--object-path", path, "--method", method)
        done = self.run("gdbus", "call", *target, *arguments, user=user)
        found = re.match(r"Error: GDBus.Error:([\w.]+): (.*)", done.stderr, re.S)
        return (found[1], found[2]) if found else ("", done.stdout + done.stderr)

    def properties(self, path: str, name: str) -> dict[str, Any]:
        """Return all properties by sd-bus: signature and value."""
        target = ("org.ipeql1", path, "org.freedesktop.DBus.Properties", "GetAll", "s", name)
        (found,) = json.loads(self.run("busctl", "--json=short", "call", *target).stdout)["data"]
        return {key: (value["type"], value["data"]) for key, value in found.items()}
