"""mpiopt with a pause after each round, so that a run on few rows lasts: python -m mpi4py slowly.py WORDS …

MPIOPT_PAUSE is the pause in seconds.
"""

import os
import sys
import time

from mpiopt.__main__ import main
from mpiopt.resilience.signals import StopSignal

agreed = StopSignal.agreed


def paused(stop, channel, external=None):
    time.sleep(float(os.environ.get("MPIOPT_PAUSE", "0")))
    return agreed(stop, channel, external)


StopSignal.agreed = paused
sys.exit(main())
