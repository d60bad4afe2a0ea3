"""A program for mpirun: eight_ranks.py OUT does all that goes along graphs, and trains, on any number of ranks."""

import sys
import warnings


def main(out):
    from mpi4py import MPI

    from mpiopt.cli.main import run
    from mpiopt.comm.lockstep import spmd
    from mpiopt.comm.mpi.comm import MpiComm
    from mpiopt.resilience.signals import StopSignal
    from tests.cases import coordination as coordination_cases
    from tests.cases import graphs as graph_cases
    from tests.cases.decentralised import TEXTS, followed

    comm = MpiComm(MPI.COMM_WORLD.Dup())
    for case in (*graph_cases.CASES, *coordination_cases.CASES):
        case(comm)
    for text in (TEXTS[0], TEXTS[-1], "gradient-tracking", "dlas[rule=min,topology=star,coordinator=ratio]"):
        found = followed(comm, text, 8)
        assert found == spmd(comm.size, lambda threads, text=text: followed(threads, text, 8))[comm.rank], text
        if text.startswith("graph-saga"):
            assert len({w.tobytes() for w in comm.allgather(model(comm, text))}) == 1
    words = ["generate:n=400,d=6,task=binary", "--algorithm", "graph-saga[topology=torus]", "--tol", "1e-9"]
    assert run(["train", *words, "--out", out], comm, StopSignal()) == 0
    if comm.rank == 0:
        print(f"done on {comm.size} ranks")


def model(comm, text):
    from tests.cases.decentralised import begun

    algorithm, state, target, channel = begun(comm, text)
    for k in range(5):
        algorithm.step(k, state, target, channel)
    return state.w


if __name__ == "__main__":
    warnings.simplefilter("error")
    main(*sys.argv[1:])
