"""Does distributed SAGA behave as its analysis says?

Every cell of the grid runs on ranks that are threads taking turns (comm/lockstep.py), so that it is deterministic and
needs no MPI; under mpirun the cells are dealt to the ranks.
"""
