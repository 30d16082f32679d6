#!/usr/bin/python3 -I
"""Starts a program of IPEQL with the Python packages that are carried beside it."""

import os
import sys

CARRIED = "/usr/lib/ipeql/python"
sys.path.insert(0, CARRIED)
os.environ["PYTHONPATH"] = CARRIED  # for the workers and the prober, which are Python too

from @MODULE@ import main  # noqa: E402

sys.exit(main())
