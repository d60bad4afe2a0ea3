"""A program for mpirun: eight_ranks.py OUT does all that goes along graphs, and trains, on any number of ranks."""

import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the cases of the tests


def main(out):
    import coordination_cases
    import graph_cases
    from decentralised_cases import TEXTS, followed
    from mpi4py import MPI

    from mpiopt.comm.lockstep import spmd
    from mpiopt.comm.mpi import MpiComm
    from mpiopt.signals import Stop
    from mpiopt.train import train

    comm = MpiComm(MPI.COMM_WORLD.Dup())
    for case in (*graph_cases.CASES, *coordination_cases.CASES):
        case(comm)
    for text in (TEXTS[0], TEXTS[-1], "gradient-tracking", "dlas[rule=min,topology=star,coordinator=ratio]"):
        found = followed(comm, text, 8)
        assert found == spmd(comm.size, lambda threads, text=text: followed(threads, text, 8))[comm.rank], text
        if text.startswith("graph-saga"):
            assert len({w.tobytes() for w in comm.allgather(model(comm, text))}) == 1
    words = ["generate:n=400,d=6,task=binary", "--algorithm", "graph-saga[topology=torus]", "--tol", "1e-9"]
    assert train([*words, "--out", out], comm, Stop()) == 0
    if comm.rank == 0:
        print(f"done on {comm.size} ranks")


def model(comm, text):
    from decentralised_cases import begun

    algorithm, state, target, channel = begun(comm, text)
    for k in range(5):
        algorithm.step(k, state, target, channel)
    return state.w


if __name__ == "__main__":
    warnings.simplefilter("error")
    main(*sys.argv[1:])
