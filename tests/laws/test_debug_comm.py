"""The communicator that checks every call: it finds each mismatch on all ranks, and what is left open at the end."""

import numpy as np
import pytest

from mpiopt.comm import debug, lockstep, threads
from mpiopt.comm.base import Comm
from mpiopt.comm.debug import DebugComm, debugged
from tests.cases.comm import CASES, MISMATCHES

SECONDS = 10.0
MISTAKES = {
    "another verb": lambda comm: comm.barrier() if comm.rank == 1 else comm.drain(),
    "another length": lambda comm: comm.sum(np.zeros(2 + (comm.rank == 1))),
    "another shape": lambda comm: comm.max(np.zeros((2, 3) if comm.rank == 1 else (3, 2))),
    "another type": lambda comm: comm.sum(np.zeros(2, np.float32 if comm.rank == 1 else np.float64)),
    "another root": lambda comm: comm.broadcast(np.zeros(1), int(comm.rank == 1)),
    "another length of a started sum": lambda comm: comm.start_sum(np.zeros(2 + (comm.rank == 1))).wait(),
    "a started sum on one rank alone": lambda comm: started_alone(comm),
    "another order": lambda comm: [call() for call in (comm.barrier, comm.drain)[:: -1 if comm.rank == 1 else 1]],
    "another round of a graph": lambda comm: ring(comm).exchange(np.zeros(3), tag=int(comm.rank == 1)),
    "another round of a started exchange": lambda comm: (
        ring(comm).start_exchange(np.zeros(3), tag=int(comm.rank == 1)).wait()
    ),
    "a rank that is done": lambda comm: comm.free() if comm.rank == 1 else comm.barrier(),
    **MISMATCHES,
}


def ring(comm):
    return comm.graph([(comm.rank + 1) % comm.size])


def started_alone(comm):
    pending = comm.start_sum(np.zeros(1)) if comm.rank == 1 else None
    comm.barrier()
    return pending


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_right_calls_pass_and_count_as_without_checks(case, size):
    lockstep.spmd(size, lambda comm: case(DebugComm(comm, SECONDS)))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mismatch_is_an_error_on_all_ranks(mistake):
    def main(comm):
        ranks = DebugComm(comm, SECONDS)
        assert isinstance(ranks, Comm)
        with pytest.raises(RuntimeError) as caught:
            MISTAKES[mistake](ranks)
        return str(caught.value)

    texts = lockstep.spmd(3, main)
    if mistake != "too few parts":  # on all ranks alike: the call itself refuses them
        assert len(set(texts)) == 1
        assert texts[0].startswith("ranks disagree on the collective call: [")


def test_a_rank_that_never_comes_is_an_error_not_a_hang():
    def main(comm):
        if comm.rank == 0:
            with pytest.raises(RuntimeError, match=r"waited 0\.05 s in call 1"):
                DebugComm(comm, 0.05).barrier()

    threads.spmd(2, main)


LEAVE = {
    "1 sums": lambda comm: comm.start_sum(np.zeros(3)),
    "1 exchanges": lambda comm: ring(comm).start_exchange(np.zeros(3)),
    "2 messages": lambda comm: [comm.send(np.zeros(1, np.uint8), (comm.rank + 1) % comm.size) for _ in range(2)],
}


@pytest.mark.parametrize("what", LEAVE)
def test_what_is_left_open_is_counted(what):
    def main(comm):
        ranks = DebugComm(comm, SECONDS)
        kept = LEAVE[what](ranks)
        with pytest.raises(RuntimeError, match=f"rank {comm.rank} has left open: {what}"):
            ranks.free()
        return kept

    lockstep.spmd(2, main)


def test_a_message_to_no_rank_is_refused():
    def main(comm):
        with pytest.raises(RuntimeError, match="below 2"):
            DebugComm(comm, SECONDS).send(np.zeros(1, np.uint8), 2)

    lockstep.spmd(2, main)


def test_the_variable_switches_it_on(monkeypatch):
    comm = threads.single()
    assert debugged(comm, {}) is comm
    assert isinstance(debugged(comm, {debug.VARIABLE: "5"}), DebugComm)
    with pytest.raises(
        ValueError, match="MPIOPT_DEBUG_COMM must be a number of seconds above 0, such as 60, not 'yes'"
    ):
        debugged(comm, {debug.VARIABLE: "yes"})
    monkeypatch.setenv(debug.VARIABLE, "5")
    assert threads.spmd(2, lambda comm: type(comm).__name__) == ["DebugComm"] * 2
    with pytest.raises(RuntimeError, match="left open: 1 sums"):
        threads.spmd(2, lambda comm: comm.start_sum(np.zeros(1)) and None)
