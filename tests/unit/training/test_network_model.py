import numpy as np
import pytest

from mpiopt.algorithms.portfolio import Portfolio
from mpiopt.algorithms.saga.saga import Saga
from mpiopt.algorithms.second_order.newton import Newton
from mpiopt.comm.threads import spmd
from mpiopt.compress.channel import Channel
from mpiopt.compress.compressors.base import Compressor
from mpiopt.core.config import job_file
from mpiopt.training import channel_setup, network_model
from mpiopt.training.channel_setup import open_channel
from mpiopt.training.network_model import Candidate, Speeds
from tests.cases.problems import objective

D = 200_000
QUANTISED = Compressor.make("quantised")
CANDIDATES = [Candidate(None, False, 1.0, 0.0), Candidate(QUANTISED, True, 1.12, 1e-3)]
SLOW = Speeds(latency=1e-4, byte=1 / 12e6, epoch=0.1)  # 100 Mbit/s
FAST = Speeds(latency=5e-6, byte=1 / 4e9, epoch=0.1)


def chosen(now, candidates=CANDIDATES, stretches=(1.0,), d=D):
    return network_model.choose(now, d, 0.25, 4, candidates, stretches)


def test_a_slow_network_calls_for_compression_and_a_fast_one_for_none():
    assert chosen(SLOW).compressor is QUANTISED
    assert chosen(SLOW).downlink
    assert chosen(FAST).compressor is None
    assert chosen(SLOW, d=8).compressor is None  # latency is all there is


def test_rounds_are_longer_where_an_exchange_is_dearer_than_the_work():
    assert chosen(SLOW, CANDIDATES[:1], network_model.STRETCHES).stretch > 1.0
    assert chosen(FAST, CANDIDATES[:1], network_model.STRETCHES).stretch == 1.0


def test_a_small_gain_is_not_worth_a_compressor():
    near = Speeds(latency=0.0, byte=1e-12, epoch=1.0)
    assert chosen(near, [CANDIDATES[0], Candidate(QUANTISED, True, 0.95, 0.0)]).compressor is None
    assert chosen(near, [CANDIDATES[0], Candidate(QUANTISED, True, 0.5, 0.0)]).compressor is QUANTISED


def test_what_is_measured_is_equal_on_all_ranks_and_said():
    found = spmd(3, lambda comm: network_model.measure(objective("logistic", 0.0, 0.1, "dense", comm), comm))
    assert len(set(found)) == 1
    assert min(found[0][::2]) > 0.0
    assert "latency" in network_model.described(found[0])


@pytest.mark.parametrize("size", [1, 3])
def test_auto_opens_the_same_channel_on_all_ranks(size):
    job = job_file.read("", [("compress", "auto"), ("local-steps", "auto")])
    algorithm = Saga(**job.algorithm.options)
    assert algorithm.local_steps == -1

    def main(comm):
        opened = open_channel(job, objective("logistic", 0.0, 0.1, "dense", comm), Portfolio((algorithm,)), comm)
        return opened.channel.compressor, opened.channel.downlink, opened.portfolio, opened.description

    seen = spmd(size, main)
    assert len({repr(s) for s in seen}) == 1
    assert (size == 1) == (seen[0][-1] == "")


@pytest.mark.parametrize(
    ("speeds", "several", "l1", "longer"),
    [(SLOW, True, 0.1, True), (FAST, True, 0.1, False), (SLOW, False, 0.1, False), (SLOW, True, 0.0, False)],
)
def test_the_length_of_a_round_follows_the_price_of_a_network(monkeypatch, speeds, several, l1, longer):
    """By default on several hosts, where a round is shorter than an epoch: not with the preconditioner."""
    monkeypatch.setattr(channel_setup, "on_several_hosts", lambda comm: several)
    monkeypatch.setattr(network_model, "measure", lambda objective, comm: speeds._replace(epoch=1e-3))
    job = job_file.read("", [("algorithm", "saga")])

    def main(comm):
        opened = open_channel(job, objective("logistic", l1, 0.1, "dense", comm), Portfolio((Saga(),)), comm)
        return opened.portfolio.first.stretch

    assert {stretch > 1.0 for stretch in spmd(2, main)} == {longer}


@pytest.mark.parametrize(
    ("settings", "algorithm", "words"),
    [
        ({"compress": "sign", "memory": "difference"}, Saga(), "memory difference needs an unbiased compressor"),
        ({"compress": "sign"}, Newton(), "newton sends exact sums only"),
        ({"compress": "sign"}, Saga(exchange="async"), "--exchange async sends exact sums only"),
        ({"compress": "quantized"}, Saga(), "did you mean 'quantised'"),
        ({"memory": "both"}, Saga(), "memory must be one of none, difference, error-feedback, auto"),
        ({"memory": "difference"}, Saga(), "--memory difference is for compressed exchanges"),
        ({"downlink": "true"}, Saga(), "--downlink is for compressed exchanges"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(settings, algorithm, words):
    job = job_file.read("", settings.items())

    def main(comm):
        return open_channel(job, objective("logistic", 0.0, 0.1, "dense", comm), Portfolio((algorithm,)), comm)

    with pytest.raises(ValueError, match=words) as caught:
        spmd(2, main)
    assert "\n" not in str(caught.value)


def test_the_counts_are_a_table_of_the_ranks():
    def main(comm):
        channel = Channel(comm)
        channel.sum(np.zeros(10 + comm.rank * 0))
        return channel.counts()

    for counts in spmd(3, main):
        assert counts["bytes_sent"].tolist() == [160] * 3
        assert counts["bytes_received"].tolist() == [160] * 3
        assert counts["messages"].tolist() == [2] * 3
