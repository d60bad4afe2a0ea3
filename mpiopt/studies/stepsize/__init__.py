"""What does it cost and what does it save to agree on a step along a directed graph?

Every cell is a run of DLAS-R-FTC (`mpiopt.algorithms.decentralised.dlas`) on least squares whose smoothness differs
between the ranks; all
ranks of a graph are in one thread. Under mpirun the cells are dealt to the processes.
"""
