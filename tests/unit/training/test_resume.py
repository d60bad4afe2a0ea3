"""What a resumed run refuses and says, through the command line."""

import itertools

import numpy as np
import pytest

from mpiopt.comm.threads import spmd
from mpiopt.results.provenance import first_start
from mpiopt.results.run_record import read_record
from mpiopt.training.run_recovery import RunRecovery
from tests.cases.command import mpiopt


@pytest.fixture
def data(here):
    return here / "points.csv"


def write(path, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(50, 3))
    np.savetxt(path, np.column_stack([np.sign(x[:, 0] + rng.normal(size=50)), x]), delimiter=",")


def train(data, *more):
    return mpiopt("train", data, "--algorithm", "saga", "--checkpoint-every", "1round", "--out", "run.h5", *more)


def test_other_data_of_the_same_shape_is_refused(data, capsys):
    write(data, 1)
    assert train(data, "--max-epochs", "3", "--tol", "1e-300") == 3
    write(data, 2)
    assert train(data, "--resume", "auto") == 2
    assert "another job: data_checksum is" in capsys.readouterr().err


def test_a_damaged_checkpoint_is_passed_over_with_a_line(data, capsys):
    write(data, 1)
    assert train(data, "--max-epochs", "6", "--tol", "1e-300") == 3
    newest = sorted((data.parent / "run.ckpt").glob("??????.h5"))[-1]
    newest.write_bytes(newest.read_bytes()[:900])
    assert train(data, "--resume", "auto") == 0
    shown = capsys.readouterr().out
    assert f"{newest.name} is damaged: truncated HDF5 file; going on from " in shown


@pytest.mark.parametrize("damaged", [None, "newest", "other"])
def test_both_of_the_newest_checkpoints_move_on_and_each_alone_is_enough(data, capsys, damaged):
    """Three lives, as after two requeues."""
    write(data, 1)
    kept, folder = [], data.parent / "run.ckpt"
    for epochs in ("15", "30", "45"):
        assert train(data, "--loss", "huber", "--max-epochs", epochs, "--tol", "1e-300", "--resume", "auto") == 3
        kept.append([int(path.stem) for path in sorted(folder.glob("??????.h5"))])
        if damaged:
            broken = folder / f"{kept[-1][-1 if damaged == 'newest' else 0]:06d}.h5"
            broken.write_bytes(broken.read_bytes()[:900])
    assert [len(pair) for pair in kept] == [2, 2, 2]
    assert all(max(before) < min(after) for before, after in itertools.pairwise(kept))
    assert capsys.readouterr().out.count("is damaged: ") == (2 if damaged == "newest" else 0)


def test_a_run_has_one_id_from_its_first_start_on(data):
    write(data, 1)
    assert train(data, "--max-epochs", "3", "--tol", "1e-300") == 3
    first = read_record("run.h5").provenance["run_id"]
    assert first_start(first).year > 2000
    assert {read_record(path).provenance["run_id"] for path in data.parent.glob("run.ckpt/??????.h5")} == {first}
    assert train(data, "--resume", "auto") == 0
    assert read_record("run.h5").provenance["run_id"] == first
    assert train(data, "--overwrite") == 0
    assert read_record("run.h5").provenance["run_id"] != first


def test_a_spare_that_takes_part_takes_the_id_of_the_run():
    def main(comm):
        recovery = RunRecovery()
        first = recovery.agree_on_id(comm)
        fresh = RunRecovery() if comm.rank == 0 else recovery
        return first, recovery.agree_on_id(comm), fresh.agree_on_id(comm)

    assert len(set(sum(spmd(3, main), ()))) == 1
