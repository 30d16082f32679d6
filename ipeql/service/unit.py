"""Asks the service manager whether the unit is being restarted."""

import subprocess

_TIMEOUT_S = 5.0


def is_restarting(unit: str) -> bool:
    """Say whether ``unit``, which is being stopped, is being restarted.

    While a unit is stopped for a restart its job is still the restart: systemd(1) turns that into
    a start job afterwards. False where the service manager does not say.
    """
    command = ["systemctl", "list-jobs", "--plain", "--no-legend", unit]
    try:
        jobs = subprocess.run(
            command, check=False, stdout=subprocess.PIPE, text=True, timeout=_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return any(job.split()[1:3] == [unit, "restart"] for job in jobs.stdout.splitlines())
