"""The study `decentralised`: algorithms along a directed graph side by side, by iterations, rounds and bytes.

Every cell is the algorithm that `train` would run, on threads that take turns, on the least squares of the study
`stepsize`. Under mpirun the cells are dealt to the processes.
"""
