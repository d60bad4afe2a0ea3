"""The study `saga-facts`: does distributed SAGA behave as its analysis says?

The ranks of a cell are threads that take turns (comm/lockstep.py), so that a run is deterministic and needs no MPI;
under mpirun the cells are dealt to the processes.
"""
