"""Result files with known numbers."""

import contextlib
import dataclasses

import h5py
import numpy as np

from mpiopt.comm.threads import spmd
from mpiopt.core.config.job_file import read
from mpiopt.core.hdf5 import SEALED
from mpiopt.core.history import PHASES, HistoryRow
from mpiopt.core.seal import sealed, without_seal
from mpiopt.results.model import FittedModel
from mpiopt.results.phases import gather_phases
from mpiopt.results.provenance import Provenance, gather
from mpiopt.results.result_file import RunCosts, write_result

MODEL = FittedModel(np.array([[1.0, 0.0, 2.5]]), np.array([0.5]), np.array([-1.0, 1.0]))


def rows(rate=0.5, count=40, best=0.5, first=1.0):
    """Return a history whose certificate and objective shrink by `rate` in each round (one epoch, 0.1 seconds)."""
    return [
        HistoryRow(
            k, float(k), 0.1 * k, 0.05 * k, 0.02 * k, 0.03 * k, 800 * k, 900 * k, best + rate**k, first * rate**k, 0.1
        )
        for k in range(count)
    ]


def seconds(compute):
    """Return a row for each rank; `compute` are its seconds of computing."""
    table = np.zeros(len(compute), [(name, "f8") for name in (*PHASES, "other", "total")])
    table["compute"], table["wait"] = compute, np.max(compute) - np.asarray(compute)
    table["total"] = np.max(compute)
    return table


def made_run(
    path,
    history=None,
    job="",
    model=MODEL,
    ranks=2,
    loss="logistic",
    compute=None,
    events=(),
    test=None,
    samples=(),
    run_id="",
    ending="",
):
    """Write a result; `job` are lines of TOML, `samples` the phases of a rank at its evaluations."""
    chosen = read(f'path = "made up"\n{job}')
    time = seconds([1.0] * ranks if compute is None else compute)
    traffic = np.array([(800, 400)] * len(time), [("bytes_sent", "i8"), ("bytes_received", "i8")])
    history = rows() if history is None else history

    def main(comm):
        known = Provenance(chosen.text(), chosen.seed, data="made up", data_checksum="c0ffee", objective="F",
                           loss=loss, penalty="none", certificate_kind="duality gap", run_id=run_id,
                           ending=ending)  # fmt: skip
        phases = gather_phases(samples, comm) if samples else None
        costs = RunCosts(traffic, time, phases)
        write_result(path, model=model, history=history, comm=comm, costs=costs, events=events,
                     provenance=dataclasses.replace(gather(comm, known), ranks=len(time)), test=test)  # fmt: skip

    spmd(1, main)
    return path


@contextlib.contextmanager
def changed(path, sealed_again=True):
    """Open a file of mpiopt's to change it; then seal it again, or make it one of a version without seals."""
    with h5py.File(path, "r+") as file:
        yield file
        if not sealed_again:
            file.attrs.pop(SEALED, None)
    if sealed_again:
        path.write_bytes(sealed(without_seal(path.read_bytes())))
