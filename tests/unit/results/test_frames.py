"""Runs as pandas frames."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mpiopt
from mpiopt.core.history import ALL, Event, HistoryRow, rows_to_text
from mpiopt.results.frames import open as open_run
from mpiopt.results.model import FittedModel
from tests.cases.result_files import MODEL, made_run, rows

ROOT = Path(__file__).resolve().parents[3]
pandas = pytest.importorskip("pandas")


@pytest.fixture
def checkpoints(tmp_path):
    """Return the folder of a run that has two checkpoints and no result."""
    from mpiopt.comm.threads import spmd
    from mpiopt.core.history import events_to_text
    from mpiopt.data.shard import DenseRows, Shard
    from mpiopt.resilience.checkpoint.store import Checkpoints
    from tests.unit.results.test_inspect_and_plot import State

    def main(comm):
        shard = Shard(DenseRows(np.zeros((5, 8))), np.zeros(5), np.ones(5), np.arange(5), 5 * comm.rank, 10, 8)
        store = Checkpoints(tmp_path / "run.ckpt", comm)
        for k in (3, 5):
            meta = {
                "job": 'data_checksum = "c"\nseed = 4\n',
                "epochs": float(k),
                "history": rows_to_text(rows(count=k)),
            }
            meta["events"] = events_to_text([Event(0.1, 1, "resumed", ALL, "2 ranks")])
            store.save(k, State(np.zeros((1, 8)), np.zeros(5)), shard, meta)

    spmd(2, main)
    return tmp_path / "run.ckpt"


def test_frames_hold_what_the_file_holds(tmp_path):
    events = [Event(0.5, 3, "failed", 1, "rank 1 is lost")]
    path = made_run(tmp_path / "run.h5", compute=[1.0, 2.0], events=events, test={"accuracy": 0.75})
    run = mpiopt.results.open(path)
    assert run.finished
    assert list(run.history.columns) == list(HistoryRow._fields)
    assert [HistoryRow(*row) for row in run.history.itertuples(index=False)] == rows()
    assert run.time["compute"].tolist() == [1.0, 2.0]
    assert run.traffic.index.name == "rank"
    assert run.events.to_dict("records") == [events[0]._asdict()]
    assert run.provenance["data_checksum"] == "c0ffee"
    assert run.settings["stop.tol"] == "1e-06"
    assert run.test["accuracy"] == 0.75
    assert "seed = 0" in run.job
    assert repr(run) == f"<mpiopt run {path}: finished, 40 evaluations>"


def test_models_are_frames_of_features_and_outputs(tmp_path):
    model = open_run(made_run(tmp_path / "a.h5")).model
    assert model.index.tolist() == ["x1", "x2", "x3", "(intercept)"]
    assert model[1.0].tolist() == [1.0, 0.0, 2.5, 0.5]
    named = FittedModel(np.ones((3, 2)), np.zeros(3), np.array(["a", "b", "c"]), feature_names=["long", "wide"])
    model = open_run(made_run(tmp_path / "b.h5", model=named)).model
    assert model.shape == (3, 3)
    assert [*map(str, model.columns)] == ["a", "b", "c"]
    real = FittedModel(MODEL.coef, MODEL.intercept)
    assert open_run(made_run(tmp_path / "c.h5", model=real)).model.columns.tolist() == ["target"]


@pytest.mark.parametrize("named", ["run.h5", "run.ckpt", "run.ckpt/000002.h5"])
def test_a_run_that_has_not_ended_is_that_of_its_newest_checkpoint(checkpoints, named):
    run = open_run(checkpoints.parent / named)
    assert not run.finished
    assert len(run.history) == 5
    assert run.settings["seed"] == "4"
    assert run.events["kind"].tolist() == ["resumed"]
    assert run.time.empty
    with pytest.raises(ValueError, match="the run has not ended"):
        _ = run.model


def test_a_damaged_newest_checkpoint_gives_way(checkpoints):
    newest = checkpoints / "000002.h5"
    newest.write_bytes(newest.read_bytes()[:900])
    assert len(open_run(checkpoints).history) == 3
    (checkpoints / "000001.h5").unlink()
    with pytest.raises(ValueError, match="truncated"):
        open_run(checkpoints)


def test_what_is_no_run_is_refused_in_one_line(tmp_path):
    (tmp_path / "empty.ckpt").mkdir()
    (tmp_path / "a.csv").write_text("1,2\n")
    for name, words in {
        "absent.h5": "no such file",
        "empty.ckpt": "there is no checkpoint in this folder",
        "a.csv": "not an HDF5 file",
    }.items():
        with pytest.raises(ValueError, match=words):
            open_run(tmp_path / name)


def test_training_never_loads_what_only_analysis_needs():
    code = "import sys, mpiopt.training.train, mpiopt.cli.commands, mpiopt.training.fit;"
    needless = {"pandas", "plotly", "matplotlib", "sklearn", "mpiopt.results.html", "mpiopt.results.plot"}
    code += f"bad = {needless} & set(sys.modules);"
    code += "sys.exit(', '.join(bad) or None)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
