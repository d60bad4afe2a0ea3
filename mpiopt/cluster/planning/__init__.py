"""`mpiopt plan`: predict time, memory and traffic of a job on any number of ranks, before it is submitted.

The job's own algorithm runs for some rounds on the rows of two ranks that take turns (`probe.py`). This measures the
work of an epoch and counts the exchanges. The speed of the network is measured or given (`link.py`). The rest is
arithmetic (`model.py`, `space.py`). `simulated.py` runs all ranks to the end, one at a time.
"""
