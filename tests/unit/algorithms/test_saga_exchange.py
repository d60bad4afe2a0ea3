"""What compressed exchanges are made of: coordinates, short sums of curvatures, bounds, and what is refused."""

import numpy as np
import pytest

from mpiopt.algorithms.base import Algorithm
from mpiopt.algorithms.portfolio import Portfolio
from mpiopt.algorithms.saga import exchange
from mpiopt.algorithms.saga.saga import Saga
from mpiopt.comm.threads import single, spmd
from mpiopt.compress.channel import Channel
from mpiopt.compress.compressors.base import Compressor
from mpiopt.compress.compressors.quantised import Quantised
from mpiopt.core.config.job import Job
from mpiopt.core.config.spec import parse_spec
from mpiopt.training.channel_setup import open_channel
from tests.cases.problems import objective

# ---- what fits together


def opened(compress="none", memory="auto", algorithm="saga", downlink=False):
    job = Job(compress=parse_spec(compress), memory=memory, downlink=downlink)
    chosen = parse_spec(algorithm)
    made = Algorithm.make(chosen.name, chosen.fitted(Algorithm.known()))
    found = open_channel(job, objective("logistic", 0.0, 0.05, "dense", single()), Portfolio((made,)), single())
    return found[0], found[-1]


def test_a_job_gives_its_channel():
    channel, line = opened("quantised[levels=3]", downlink=True)
    assert channel.compressor == Quantised(levels=3)
    assert (channel.memory, channel.downlink) == ("error-feedback", True)
    assert line == ""  # one rank sends nothing
    assert opened("rand-k", "difference")[0].memory == "difference"
    plain, line = opened()
    assert (plain.compressor, line) == (None, "")
    assert opened(algorithm="lbfgs")[1] == ""


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (("top-k", "difference"), "--memory difference needs an unbiased compressor, one of bfloat16, .*; not top-k"),
        (("sign", "none"), "--memory none needs an unbiased compressor, one of .*quantised.*; not sign"),
        (("quantised", "auto", "lbfgs"), r"--compress quantised: lbfgs sends exact sums only; use one of .*saga"),
        (("quantised", "difference", "newton"), r"newton sends exact sums only; use one of .*saga"),
        (("quantised", "auto", "saga[exchange=overlap]"), "--exchange overlap sends exact sums only"),
        (("quantised", "diana"), "memory must be one of none, difference, error-feedback, auto; not 'diana'"),
        (("none", "diana"), "memory must be one of none, difference, error-feedback, auto; not 'diana'"),
        (("gzip",), "gzip"),
        (("quantised[level=3]",), "level"),
        (("rand-k[share=2]",), "rand-k: share must be above 0 and at most 1, not 2"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(job, message):
    with pytest.raises(ValueError, match=message) as error:
        opened(*job)
    assert "\n" not in str(error.value)


def test_models_are_averaged_by_their_rows_and_go_the_part_of_the_way_that_is_set():
    def main(comm):
        target = objective("logistic", 0.0, 0.05, "dense", comm)
        algorithm, channel = (
            Saga(preconditioner="diagonal"),
            Channel(comm, 3, Compressor.make("rand-k", {"share": 1.0})),
        )
        state = algorithm.init(target, channel)
        state.local += np.random.default_rng(comm.rank).normal(size=state.w.shape) * (np.arange(8) < 7)
        state.control.mix = 0.25
        away = comm.sum((state.local - state.w) * len(target.shard) / target.shard.total)
        before = state.w.copy()
        exchange.average_models(1, state, target, channel)
        np.testing.assert_allclose(state.w, before + 0.25 * away, atol=1e-6)
        assert state.local.tobytes() == state.w.tobytes()

    spmd(3, main)
