"""Laws of compressed sums: all ranks get the same, it is what was sent, and it is counted as it was sent.

Over every compressor, with and without a compressed way back, on 1, 2, 3 and 5 ranks, also for vectors shorter than
the number of ranks.
"""

import math

import numpy as np
import pytest

from mpiopt.comm.lockstep import spmd
from mpiopt.comm.reduction import SMALL, is_small
from mpiopt.compress import allreduce, error_feedback
from mpiopt.compress.allreduce import Route
from mpiopt.compress.channel import Channel
from mpiopt.compress.compressors.base import SEED, Compressor, Summable
from mpiopt.core.partition import block

SIZES = (1, 2, 3, 5)
OPTIONS = {"quantised": {"levels": 1}, "natural": {"bits": 3}, "top-k": {"share": 0.6}, "rand-k": {"share": 0.5}}
DIMENSIONS = (0, 1, 2, 4, 7, 40, 900)


def members():
    for name in Compressor.known():
        yield pytest.param(Compressor.make(name), id=name)
        if name in OPTIONS:
            yield pytest.param(Compressor.make(name, OPTIONS[name]), id=f"{name} {OPTIONS[name]}")


@pytest.fixture(params=members())
def compressor(request):
    return request.param


def vector(rank, d, k=0):
    """Return a vector that differs on all ranks and is zero on rank 3."""
    return np.random.default_rng([rank, d, k]).standard_normal(d) * (rank + 1) * (rank != 3)


class Spy:
    """A communicator that records the arguments and results of its collectives."""

    def __init__(self, comm):
        self.inner, self.seen = comm, []

    def __getattr__(self, name):
        found = getattr(self.inner, name)
        if name not in ("sum", "max", "allgather", "alltoall"):
            return found

        def call(x):
            result = found(x)
            self.seen.append((name, x, result))
            return result

        return call


def bytes_of(call, x, result, rank, size):
    """Return bytes sent, bytes received and messages of a collective, from its arrays alone."""
    others = [r for r in range(size) if r != rank]
    if call == "allgather":
        return x.nbytes * len(others), sum(result[r].nbytes for r in others), len(others)
    if call == "alltoall":
        return (
            sum(x[r].nbytes for r in others),
            sum(result[r].nbytes for r in others),
            sum(x[r].size > 0 for r in others),
        )
    if call == "max" or is_small(x.nbytes, size):
        return x.nbytes * len(others), x.nbytes * len(others), len(others)
    cuts = [block(x.size, size, r) for r in range(size)]
    part = [(b - a) * x.itemsize for a, b in cuts]
    there, back = sum(part[r] for r in others), part[rank] * len(others)
    return there + back, there + back, 2 * len(others)


def exchanged(size, compressor, downlink, d, rounds=(0,), seed=5, stream=11):
    """Return from each rank the sums of each round, the traffic, and the collectives."""

    def main(comm):
        spy = Spy(comm)
        channel = Channel(spy, seed, compressor, downlink=downlink)
        parts = []
        for k in rounds:
            x = vector(comm.rank, d, 0)
            before = x.copy()
            parts.append(channel.compress(x, k, stream))
            assert x.tobytes() == before.tobytes()
        return parts, channel.traffic, spy.seen

    return spmd(size, main)


def decoded(compressor, seen, size, d):
    """Decode each rank's vector as the others received it, and the sum, from the collectives of all ranks."""
    call = seen[0][0][0]
    if call == "allgather":
        payloads = [calls[0][1] for calls in seen]
        own = [compressor.decode(message, d) for message in payloads]
        return own, sum(own)
    cuts = [slice(*block(d, size, r)) for r in range(size)]
    own = np.zeros((size, d))
    for r, calls in enumerate(seen):  # rank r received rank j's slice r
        for j, message in enumerate(calls[0][2]):
            own[j, cuts[r]] = compressor.decode(message, cuts[r].stop - cuts[r].start)
    if seen[0][1][1].dtype == np.uint8:
        back = [compressor.decode(calls[1][1], cut.stop - cut.start) for calls, cut in zip(seen, cuts, strict=True)]
        return list(own), np.concatenate(back)
    return list(own), own.sum(axis=0)


@pytest.mark.parametrize("downlink", [False, True], ids=["one way", "both ways"])
@pytest.mark.parametrize("size", SIZES)
def test_all_ranks_get_the_same_sum_of_the_vectors_as_received(compressor, size, downlink):
    for d in DIMENSIONS:
        found = exchanged(size, compressor, downlink, d)
        parts, seen = [p[0] for p, *_ in found], [s for *_, s in found]
        assert all(p.own.shape == p.total.shape == (d,) for p in parts)
        assert len({p.total.tobytes() for p in parts}) == 1
        exact = sum(vector(r, d) for r in range(size))
        if size == 1 or compressor.name == "none":
            assert [p.own.tobytes() for p in parts] == [vector(r, d).tobytes() for r in range(size)]
            np.testing.assert_allclose(parts[0].total, exact, atol=1e-12)
            continue
        route = allreduce.cheapest_route(compressor, d, size, downlink)
        if not (downlink and route is Route.SLICES):
            np.testing.assert_allclose(parts[0].total, sum(p.own for p in parts), rtol=1e-13, atol=1e-13)
        if route is not Route.SUM:
            own, total = decoded(compressor, seen, size, d)
            assert [p.own.tobytes() for p in parts] == [x.tobytes() for x in own]
            np.testing.assert_allclose(parts[0].total, total, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_a_seed_and_round_determine_the_draw(compressor, size):
    chance = compressor.unbiased and compressor.name != "none"
    one = [p for p, *_ in exchanged(size, compressor, False, 40, (0, 1, 2, 1))]
    again = [p for p, *_ in exchanged(size, compressor, False, 40, (1,))]
    for rank, parts in enumerate(one):
        own = [p.own.tobytes() for p in parts]
        assert own[1] == own[3] == again[rank][0].own.tobytes()
        assert parts[1].total.tobytes() == parts[3].total.tobytes() == again[rank][0].total.tobytes()
        if chance and vector(rank, 1).any() and compressor.name != "participation":
            assert len(set(own)) == 3
    if chance:
        rounds = tuple(range(12))
        plain = [
            tuple(p.total.tobytes() for p in exchanged(size, compressor, False, 40, rounds, *more)[0][0])
            for more in ((5, 11), (6, 11), (5, 12))
        ]
        assert len(set(plain)) == 3  # the seed and the stream count as well
        assert len(set(plain[0])) > 1


@pytest.mark.parametrize("size", [2, 3, 5])
def test_ranks_draw_independently_unless_projections_are_added(compressor, size):
    """Two ranks with the same vector have the same error only if they must."""
    if not compressor.unbiased or compressor.name == "none":
        return

    def main(comm):
        channel = Channel(comm, 5, compressor)
        return [channel.compress(np.sqrt(np.arange(1.0, 41.0)), k, 11).own.tobytes() for k in range(12)]

    found = spmd(size, main)
    assert (len(set(map(tuple, found))) == 1) == (allreduce.cheapest_route(compressor, 40, size, False) is Route.SUM)


@pytest.mark.parametrize("downlink", [False, True], ids=["one way", "both ways"])
@pytest.mark.parametrize("size", SIZES)
def test_counts_are_those_of_the_arrays(compressor, size, downlink):
    for d in (0, 3, 40, 900):
        found = exchanged(size, compressor, downlink, d, (0, 1))
        for rank, (_, traffic, seen) in enumerate(found):
            sent, received, messages = np.sum([bytes_of(*call, rank, size) for call in seen], axis=0)
            assert (traffic.bytes_sent, traffic.bytes_received, traffic.messages) == (sent, received, messages)
            assert traffic.exchanges == len(seen)
            assert traffic.bytes_plain == 2 * allreduce.exact_sum_bytes(d, size)
        assert sum(t.bytes_sent for _, t, _ in found) == sum(t.bytes_received for _, t, _ in found)


@pytest.mark.parametrize("downlink", [False, True], ids=["one way", "both ways"])
@pytest.mark.parametrize("size", [2, 3, 5])
def test_the_route_is_the_cheapest_and_costs_the_expected_bytes(compressor, size, downlink):
    if compressor.name == "none":
        return
    for d in (1, 40, 900):
        costs = allreduce.route_costs(compressor, d, size, downlink)
        route = allreduce.cheapest_route(compressor, d, size, downlink)
        assert costs[route] == min(costs.values())
        rounds = tuple(range(60 if compressor.name in ("participation", "sparsified") else 2))
        traffic = [t for _, t, _ in exchanged(size, compressor, downlink, d, rounds)]
        mean = sum(t.bytes_sent for t in traffic) / size / len(rounds)
        spread = 0.35 if len(rounds) > 2 else 0.0  # at least 5 standard deviations of random lengths
        uneven = (size - 1) * 8.0 * (-(-d // size) * size - d) / size + (size - 1) * 16 * (
            d % size > 0
        )  # last slices
        assert mean == pytest.approx(costs[route], rel=spread, abs=uneven + 1e-9 + spread * 8 * size)
        calls = {v for *_, seen in exchanged(size, compressor, downlink, d) for v, *_ in seen}
        assert (
            calls
            == {Route.SUM: {"allgather"}, Route.GATHER: {"allgather"}, Route.SLICES: {"alltoall", "allgather"}}[route]
        )


@pytest.mark.parametrize("size", SIZES)
def test_without_a_compressor_bytes_plain_are_those_sent(size):
    def main(comm):
        channel = Channel(comm)
        for d in (0, 1, 30, 3000, 30000):
            channel.sum(np.zeros(d), 1.0)
            channel.compress(np.ones(d), 0, 0)
            channel.start_sum(np.zeros(d)).wait()
            channel.max(np.ones(min(d, 9)))
        return channel.traffic.bytes_sent, channel.traffic.bytes_plain

    sent, plain = np.sum(spmd(size, main), axis=0)
    assert plain == pytest.approx(sent, abs=20 * size)  # halves of bytes


@pytest.mark.parametrize("share", [0.1, 0.9])
@pytest.mark.parametrize("size", [2, 3, 5])
def test_a_long_sum_of_projections_sends_the_bytes_of_an_allreduce(size, share):
    d = 40_000
    compressor = Compressor.make("rand-k", {"share": share})
    found = exchanged(size, compressor, False, d)
    nbytes = 4 * compressor.count(d, 0)
    assert share < 0.5 or nbytes * (size - 1) > SMALL
    mean = sum(t.bytes_sent for _, t, _ in found) / size
    assert mean == pytest.approx(allreduce.sum_bytes(compressor.nbytes(d) - SEED, size), abs=4 * size)
    parts = [p[0] for p, *_ in found]
    assert len({p.total.tobytes() for p in parts}) == 1
    np.testing.assert_allclose(sum(p.own for p in parts), parts[0].total, rtol=1e-14, atol=1e-13)
    for rank, p in enumerate(parts):  # numbers that are kept are right to float32
        x = vector(rank, d)
        assert (np.abs(p.own[p.own != 0] * share - x[p.own != 0]) <= 2e-7 * size**2 * 5).all()


def test_a_sum_beyond_float32_is_sent_again_in_float64():
    for scale in (1e38, 2.9e38, 1e300):

        def main(comm, scale=scale):
            channel = Channel(comm, 5, Compressor.make("rand-k", {"share": 1.0}))
            return channel.compress(np.full(9, scale), 0, 0)

        parts = spmd(5, main)
        np.testing.assert_allclose(parts[0].total, 5 * scale, rtol=1e-6)
        np.testing.assert_allclose(sum(p.own for p in parts), parts[0].total, rtol=1e-13)


# ---- memories


def fits(compressor, name):
    return name == "error-feedback" or compressor.unbiased


def estimated(size, compressor, name, downlink, d, rounds, residual=True):
    """Return from each rank the estimates of each round, h_k, H and the residual."""

    def main(comm):
        channel = Channel(comm, 7, compressor, name, downlink)
        x, own, common, residuals = vector(comm.rank, d), np.zeros(d), np.zeros(d), np.zeros(d)
        residuals = residuals if residual else None
        found = [error_feedback.update(x, own, common, channel, k, 3, residuals) for k in range(rounds)]
        return found, own, common, residuals

    return spmd(size, main)


@pytest.mark.parametrize("downlink", [False, True], ids=["one way", "both ways"])
@pytest.mark.parametrize("name", ["difference", "error-feedback"])
def test_a_memory_of_a_constant_vector_finds_the_sum_linearly(compressor, name, downlink):
    if not fits(compressor, name):
        return
    d = 24
    for size in (2, 5):
        alpha = max(Channel(_Size(size), 0, compressor, downlink=downlink).shrink(d), 1e-3)
        if not compressor.unbiased:
            alpha = compressor.contraction(d)
        rounds = math.ceil(40 / alpha)
        exact = sum(vector(r, d) for r in range(size))
        found = estimated(size, compressor, name, downlink, d, rounds)
        assert all(len({f[k].tobytes() for f, *_ in found}) == 1 for k in range(rounds))
        off = [np.linalg.norm(e - exact) / np.linalg.norm(exact) for e in found[0][0]]
        assert off[-1] < 1e-6, (size, rounds)
        half = float(np.median(off[rounds // 2 - 3 : rounds // 2 + 4]))
        assert off[-1] < 0.02 * half or half < 1e-12


@pytest.mark.parametrize("downlink", [False, True], ids=["one way", "both ways"])
@pytest.mark.parametrize("name", ["difference", "error-feedback"])
@pytest.mark.parametrize("size", [2, 3, 5])
def test_the_common_memory_is_the_sum_of_the_memories_and_residuals(compressor, name, size, downlink):
    if not fits(compressor, name):
        return
    for d in (1, 3, 24, 300):
        found = estimated(size, compressor, name, downlink, d, 8)
        own, common, residuals = (np.array([f[i] for f in found]) for i in (1, 2, 3))
        assert len({w.tobytes() for w in common}) == 1
        s = spmd(size, lambda c, d=d: Channel(c, 7, compressor, name, downlink).shrink(d))[0]
        np.testing.assert_allclose(own.sum(axis=0), common[0] + s * residuals.sum(axis=0), rtol=1e-12, atol=1e-12)
        if not downlink:
            assert not residuals.any()


class _Size:
    """A communicator of which only the number of ranks is used."""

    def __init__(self, size):
        self.size, self.rank = size, 0


@pytest.mark.parametrize("name", ["none", "difference"])
def test_unbiased_memories_have_the_right_mean(compressor, name):
    if not compressor.unbiased:
        return
    size, d, runs = 3, 5, 500
    exact = sum(vector(r, d) for r in range(size))

    def main(comm):
        found = []
        for run in range(runs):
            channel = Channel(comm, run, compressor, name)
            own, common = np.zeros(d), np.zeros(d)
            found.append([error_feedback.update(vector(comm.rank, d), own, common, channel, k, 3) for k in range(3)])
        return np.array(found)

    e = spmd(size, main)[0] - exact
    limit = 5 * e.std(axis=0) / math.sqrt(runs) + 8 * np.abs(e).max() / runs
    assert (np.abs(e.mean(axis=0)) <= limit + 1e-6).all()
    late, early = (e[:, k].std() for k in (2, 0))
    if early > 1e-6:
        assert late > 0.7 * early if name == "none" else late < 0.999 * early


def test_the_shrinking_is_that_of_the_numbers_that_travel():
    """If padding is not sent, the memory must not use the factor of the longer vectors."""
    compressor, d = Compressor.make("rand-k"), 14  # keeps one of 14, and would keep two of 16
    assert compressor.shrink(d) != compressor.shrink(16)

    def main(comm):
        channel = Channel(comm, 7, compressor)
        own, common = np.zeros((1, 16)), np.zeros((1, 16))
        sent = channel.compress(np.ones(d), 0, 3)
        wide = type(sent)(*(np.concatenate([part, np.zeros(2)])[None] for part in sent))
        error_feedback.absorb(wide, own, common, channel, d)
        return own.max()

    assert spmd(2, main) == [pytest.approx(1.0)] * 2


def test_a_sum_has_the_noise_of_its_route():
    for name in ("rand-k", "quantised"):
        compressor = Compressor.make(name)
        for size in (2, 5):
            channel = Channel(_Size(size), 0, compressor)
            omega = 1 / channel.shrink(40) - 1
            shared = isinstance(compressor, Summable)
            assert channel.shrink_of_sum(40) == pytest.approx(1 / (1 + omega / (1 if shared else size)))
    alone = Channel(_Size(1), 0, Compressor.make("rand-k"))
    assert (alone.shrink(40), alone.shrink_of_sum(40), alone.typical_contraction(40), alone.variance(40)) == (
        1.0,
        1.0,
        1.0,
        0.0,
    )
    assert not alone.compresses
