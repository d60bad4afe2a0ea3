"""`--compress auto` on a slow link: what compression adds in epochs and exchanges costs less than its bytes save."""

from unittest import mock

import pytest

from mpiopt import fit
from mpiopt.comm.threads import spmd
from mpiopt.core.partition import block
from mpiopt.training import network_model
from mpiopt.training.channel_setup import open_channel
from mpiopt.training.network_model import HOPS, PASSES_OVER_ROWS, Speeds
from tests.cases.small_sets import binary, normal, small_sets

RANKS = 4
LATENCY, BYTE = 1e-4, 1e-6  # seconds; 1 MB/s
WIDER = {"250 columns": lambda: binary(31, normal(31, 2500, 250))}  # here it is worth its epochs
SETS = small_sets() | WIDER
EXACT, COMPRESSED = 2, max(HOPS.values())  # small collectives in an exchange


def seconds(data, compress):
    """Return the seconds that a run takes on that link by its counts, and the compressor."""
    epoch = PASSES_OVER_ROWS * 1e-9 * (data.x.nnz if hasattr(data.x, "nnz") else data.x.size)
    channels = []

    def opened(*arguments):
        found = open_channel(*arguments)
        channels.append(found.channel)
        return found

    def main(comm):
        rows = slice(*block(len(data.y), RANKS, comm.rank))
        model = fit(data.x[rows], data.y[rows], comm, algorithm="saga", tol=1e-6, compress=compress, **data.model)
        return model.certified, model.history[-1].epoch, comm.bytes_sent

    with (
        mock.patch("mpiopt.training.fit.open_channel", opened),
        mock.patch.object(network_model, "measure", return_value=Speeds(LATENCY, BYTE, epoch)),
        mock.patch.object(network_model, "_compressing_seconds", return_value=1e-5),
    ):
        certified, epochs, sent = max(spmd(RANKS, main), key=lambda found: found[-1])
    assert certified
    hops = COMPRESSED if channels[0].compresses else EXACT
    return epochs * epoch + channels[0].traffic.exchanges * hops * LATENCY + sent * BYTE, channels[0].compressor


@pytest.mark.parametrize(
    ("name", "compresses"),
    [
        ("dense", False),
        ("ill-conditioned", False),
        ("simulated", False),
        ("short rows, l1", True),
        ("short rows", False),
        ("huber", False),
        ("no penalty", False),
        ("250 columns", True),
    ],
)
def test_auto_costs_no_more_than_exact_sums(name, compresses):
    data = SETS[name]()
    chosen, compressor = seconds(data, "auto")
    assert (compressor is not None) == compresses
    if compresses:
        assert chosen <= seconds(data, "none")[0]
