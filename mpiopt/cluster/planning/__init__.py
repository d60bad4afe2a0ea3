"""`mpiopt plan`: what a job will cost on any number of ranks, before it is submitted.

The true algorithm is run for some rounds on rows for two ranks that take turns (`probe.py`): that measures the work
of an epoch and counts the exchanges. The machine's link is measured or given (`link.py`); the rest is arithmetic
(`model.py`, `space.py`). `simulated.py` runs all ranks to the end, one at a time.
"""
