"""Distributed SAGA over MPI: fit convex models to data spread over many machines, to a certified optimum."""

__version__ = "0.1.0"
