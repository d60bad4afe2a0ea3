import numpy as np
import pytest

from mpiopt.comm.base import Assignment
from mpiopt.comm.membership import (
    FALSE_ALARMS,
    LOST,
    FixedMembership,
    RollBack,
    SilenceMonitor,
    new_ranks,
    run_elastic,
)
from mpiopt.comm.threads import single, spmd
from mpiopt.compress.channel import Channel
from mpiopt.resilience.consistency import majority, repair
from mpiopt.resilience.signals import StopSignal
from mpiopt.results.result_file import read_result
from mpiopt.training.run_recovery import RunRecovery
from tests.laws.test_recovery import words


@pytest.mark.parametrize(
    ("held", "wanted", "given"),
    [
        ([-1, -1, -1, -1, -1], 4, [0, 1, 2, 3, -1]),  # the first assignment: the last one is a spare
        ([0, 1, 3, -1], 4, [0, 1, 3, 2]),  # rank 2 is lost: the spare takes its place
        ([0, 1, 3], 3, [0, 1, 2]),  # no spare: the higher ranks move down
        ([1, 2, -1, -1], 3, [1, 2, 0, -1]),  # the first is lost
        ([3], 1, [0]),
        ([2, -1], 2, [1, 0]),
    ],
)
def test_a_process_keeps_its_rank_and_a_spare_takes_the_first_free_one(held, wanted, given):
    assert new_ranks(held, wanted) == given


def test_a_watchdog_waits_three_times_the_longest_silence():
    silence = SilenceMonitor()
    for now, messages in [(1.0, 0), (5.0, 3), (6.0, 3), (7.0, 4), (100.0, 4)]:
        silence.observe(messages, now)
    assert silence.longest == 5.0  # 93 s later nothing has come yet: that does not count
    assert silence.limit(10.0) == 15.0
    assert silence.limit(120.0) == 120.0
    assert silence.limit(1.0) == 10.0  # an hour of reading is not to become three hours of hanging


class Fearful(FixedMembership):
    """A membership that takes every error for a lost rank."""

    def is_rank_loss(self, error):
        return True


def test_errors_that_only_look_like_lost_ranks_end_the_job_after_some_attempts():
    begun = []

    def work(assignment):
        begun.append(assignment)
        raise RuntimeError("again")

    with pytest.raises(RuntimeError, match="as if a rank were lost, but all are alive"):
        run_elastic(Fearful(single()), lambda comm: 0, work)
    assert len(begun) == FALSE_ALARMS + 1


def test_a_fixed_membership_raises_the_errors_of_its_ranks():
    def work(assignment):
        raise ValueError("a user's")

    with pytest.raises(ValueError, match="a user's"):
        run_elastic(FixedMembership(single()), lambda comm: 0, work)
    assert run_elastic(FixedMembership(single()), lambda comm: 0, lambda assignment: 3) == 3
    codes = iter([LOST, 0])
    assert run_elastic(FixedMembership(single()), lambda comm: 0, lambda assignment: next(codes)) == 0


@pytest.mark.parametrize(
    ("digests", "verdict"),
    [([5, 5, 5], (0, [])), ([5, 7, 5], (0, [1])), ([7, 5, 5], (1, [0])), ([5, 7], None), ([5, 5, 7, 7], None)],
)
def test_more_than_half_decide(digests, verdict):
    assert majority(digests) == verdict


def flipped(rank, bit, size, tmp_path, recovery="stateless[digest=4]"):
    """Train on threads; before the digest of round 4 a bit of rank's model flips. Give lines said, and the lives."""
    from mpiopt.training.job_args import agreed_job
    from mpiopt.training.train import train_once

    said = [[] for _ in range(size)]

    def main(comm):
        class Struck(RunRecovery):
            def protect(self, now, shard, channel):
                if now.round == 4 and self.replicas.attempt == 1 and comm.rank == rank:
                    now.state.w.view(np.uint64)[0, 1] ^= np.uint64(1 << bit)
                super().protect(now, shard, channel)

            def begin(self, post, recovery, say):
                super().begin(post, recovery, said[comm.rank].append)

        keeper, stop = Struck(), StopSignal()
        job = words(tmp_path, recovery, "saga", "--checkpoint-every", "3rounds")

        def on(ranks):
            return agreed_job(job, ranks)

        code = run_elastic(
            FixedMembership(comm), lambda c: 0, lambda post: train_once(on, Assignment(comm), stop, keeper)
        )
        return code, keeper.replicas.attempt

    return spmd(size, main), said


@pytest.mark.parametrize("rank", [0, 2])
def test_a_flipped_bit_in_replicated_state_is_set_right_by_the_majority(rank, tmp_path):
    ends, said = flipped(rank, 60, 3, tmp_path)
    assert ends == [(0, 1)] * 3
    assert all(f"replicated state of ranks {rank} had changed by itself; set right" in lines[0] for lines in said)
    assert read_result(tmp_path / "run.h5").history["certificate"][-1] <= 1e-5


def test_of_two_ranks_nobody_knows_which_is_wrong_and_both_roll_back_to_the_checkpoint(tmp_path):
    ends, said = flipped(1, 60, 2, tmp_path)
    assert ends == [(0, 2)] * 2
    assert "rolling back to the last checkpoint" in said[0][0]
    assert "going on from round 3, 0 rounds" in said[0][-1]
    assert read_result(tmp_path / "run.h5").history["certificate"][-1] <= 1e-5


def test_two_ranks_that_differ_by_rounding_alone_are_set_right_without_a_rollback(tmp_path):
    ends, said = flipped(1, 1, 2, tmp_path)
    assert ends == [(0, 1)] * 2
    assert "set right" in said[0][0]


def test_a_number_that_is_not_finite_on_one_of_two_ranks_is_no_rounding():
    def main(comm):
        from mpiopt.algorithms.base import Algorithm
        from tests.cases.problems import objective

        target = objective("logistic", 0.0, 0.05, "dense", comm)
        state = Algorithm.make("lbfgs").init(target, Channel(comm))
        if comm.rank:
            state.w[0, 0] = np.nan
        with pytest.raises(RollBack, match="no majority agrees"):
            repair(state, comm)

    spmd(2, main)
