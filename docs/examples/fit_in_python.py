"""Fit a logistic model to the rows of each rank: python fit_in_python.py, or mpirun -n 2 python fit_in_python.py."""

import numpy as np
from mpi4py import MPI

import mpiopt

comm = MPI.COMM_WORLD
rng = np.random.default_rng(comm.rank)  # each rank has its own rows
x = rng.normal(size=(5000, 20))
y = np.where(x[:, 0] - x[:, 1] + rng.normal(size=5000) > 0, "yes", "no")

fit = mpiopt.fit(x, y, comm, l2="1/N", tol=1e-8)

if comm.rank == 0:
    print(f"certified: {fit.certified}, {fit.certificate_kind} {fit.certificate:.1e}, classes {fit.classes}")
    print("first coefficients:", fit.coef[0, :3].round(3))
