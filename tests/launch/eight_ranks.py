"""A program for mpirun: all that goes along graphs, on as many ranks as there are; rank 0 says what was done."""

import warnings


def main():
    from mpi4py import MPI

    from mpiopt.comm.lockstep import spmd
    from mpiopt.comm.mpi import MpiComm
    from tests import coordination_cases, graph_cases
    from tests.decentralised_cases import TEXTS, followed

    comm = MpiComm(MPI.COMM_WORLD.Dup())
    for case in (*graph_cases.CASES, *coordination_cases.CASES):
        case(comm)
    for text in (*TEXTS, "dlas", "dlas[rule=min,topology=star,coordinator=ratio]"):
        found = followed(comm, text, 8)
        assert found == spmd(comm.size, lambda threads, text=text: followed(threads, text, 8))[comm.rank], text
        if text.startswith("graph-saga"):
            assert len({w.tobytes() for w in comm.allgather(model(comm, text))}) == 1
    if comm.rank == 0:
        print(f"done on {comm.size} ranks")


def model(comm, text):
    from tests.decentralised_cases import begun

    algorithm, state, target, channel = begun(comm, text)
    for k in range(5):
        algorithm.step(k, state, target, channel)
    return state.w


if __name__ == "__main__":
    warnings.simplefilter("error")
    main()
