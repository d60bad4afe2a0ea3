"""Python reads this file when it starts: mpiopt pauses after each round, so that a run lasts on any machine.

MPIOPT_PAUSE is the pause in seconds; `tests.conftest.paused` gives the variables of such a run.
"""

import os
import sys
import time

if "mpiopt" in sys.orig_argv:
    from mpiopt.resilience.signals import StopSignal

    agreed = StopSignal.agreed

    def paused(stop, channel, external=None):
        """Wait, then agree; not in a rehearsal, whose rank is no rank of MPI."""
        if type(channel.comm).__module__.startswith("mpiopt.comm.mpi"):
            time.sleep(float(os.environ.get("MPIOPT_PAUSE", "0")))
        return agreed(stop, channel, external)

    StopSignal.agreed = paused
