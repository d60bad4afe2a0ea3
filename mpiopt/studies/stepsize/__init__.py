"""The study `stepsize`: what does a common step size along a directed graph cost, and what does it save?

Every cell is a run of DLAS-R-FTC (`mpiopt.algorithms.decentralised.dlas`) on least squares whose smoothness differs
between the ranks. All ranks of a graph are in one thread; under mpirun the cells are dealt to the processes.
"""
