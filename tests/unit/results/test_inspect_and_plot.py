import dataclasses
import re
import sys

import h5py
import numpy as np
import pytest

from mpiopt.comm.threads import spmd
from mpiopt.core.history import HistoryRow, rows_to_text
from mpiopt.core.state import Replicated, Sharded
from mpiopt.data.shard import DenseRows, Shard
from mpiopt.resilience.checkpoint.store import Checkpoints
from mpiopt.results.coefficients import CoefficientsShown, coefficient_rows
from mpiopt.results.html.charts import Chart, Curve, curve
from mpiopt.results.inspect import inspect
from mpiopt.results.model import FittedModel
from mpiopt.results.plot import draw, gaps, plot
from mpiopt.results.provenance import Provenance, gather
from mpiopt.results.result_file import write_result
from mpiopt.results.run_record import read_record
from tests.cases.result_files import rows

PNG = b"\x89PNG\r\n\x1a\n"


def result(path, rate=0.5, rows=40, objective="F", best=0.5):
    history = [
        HistoryRow(k, k, 0.1 * k, 0.0, 0.0, 0.0, 800 * k, 900 * k, best + rate**k, rate**k, 0.1) for k in range(rows)
    ]
    model = FittedModel(np.array([[1.0, 0.0, 2.5]]), np.array([0.5]), np.array([-1.0, 1.0]))

    def main(comm):
        known = Provenance("seed = 1\n", 1, data="d", objective=objective, certificate_kind="duality gap")
        write_result(path, model=model, history=history, provenance=gather(comm, known), comm=comm)

    spmd(1, main)
    return path


def test_inspect_a_result(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["mpiopt", "train"])  # the provenance holds the command
    text = inspect(result(tmp_path / "run.h5"))
    assert "1 × 3 coefficients, 2 not zero" in text
    assert re.search(r"duality gap +1\.819e-12", text)
    assert "history, 12 of 40 rows" in text
    assert re.search(r"\n  39 +39 +3\.9 +0\.500000000002 +1\.82e-12 +0\.1\n", text)
    assert text.endswith("job\n  seed = 1")
    assert max(map(len, text.splitlines()[1:])) <= 82


def test_inspect_a_result_without_history(tmp_path):
    assert "history, 0 of 0 rows" in inspect(result(tmp_path / "run.h5", rows=0))


@dataclasses.dataclass
class State:
    w: Replicated  # (1, 8)
    table: Sharded  # (n,)


def test_inspect_a_checkpoint(tmp_path):
    def main(comm):
        shard = Shard(DenseRows(np.zeros((5, 8))), np.zeros(5), np.ones(5), np.arange(5), 5 * comm.rank, 10, 8)
        state = State(np.zeros((1, 8)), np.zeros(5))
        Checkpoints(tmp_path, comm).save(
            7, state, shard, {"job": "seed = 1", "epochs": 3.5, "history": rows_to_text(rows(count=9))}
        )

    spmd(2, main)
    text = inspect(tmp_path / "000001.h5")
    assert re.search(r"round +7\n", text)
    assert re.search(r"epochs +3\.5\n", text)
    assert re.search(r"table +sharded +f8 +10 +80 B", text)
    assert "one file for each of 2 ranks" in text
    assert "[[0, 0.0" not in text
    assert re.search(r"certificate +█▇▆▅▅▄▃▂▁  1 to 0.0039\n", text)


def test_inspect_any_other_hdf5_file(tmp_path):
    with h5py.File(tmp_path / "data.h5", "w") as f:
        f.attrs["rows"] = 10
        f.create_dataset("values", data=np.zeros((10, 3)), chunks=(5, 3), compression="gzip")
        f["note"] = "text"
    text = inspect(tmp_path / "data.h5")
    assert re.search(r"values +10 × 3 +float64 +240 B +chunked gzip", text)
    assert re.search(r"rows +10\n", text)


def test_a_filter_that_chooses_nothing_is_refused(tmp_path):
    names = FittedModel(np.ones((1, 2)), np.zeros(1), feature_names=["age", "region[south]"])
    assert coefficient_rows(names, CoefficientsShown(filter="region[*]")).rows[0][0] == "region[south]"
    with pytest.raises(ValueError, match=r"--filter agee: no coefficient has such a name \(did you mean 'age'\?\)"):
        coefficient_rows(names, CoefficientsShown(filter="agee"))


def test_inspect_what_is_no_hdf5_file(tmp_path):
    (tmp_path / "a.csv").write_text("1,2\n")
    with pytest.raises(ValueError, match=r"a.csv: not an HDF5 file; .* for a table: mpiopt describe$"):
        inspect(tmp_path / "a.csv")


def test_gaps_share_the_best_only_within_one_objective(tmp_path):
    runs = [
        result(tmp_path / "a.h5", rows=3),
        result(tmp_path / "b.h5", rows=4),
        result(tmp_path / "c.h5", rows=3, objective="G", best=7.0),
    ]
    a, b, c = gaps([read_record(run) for run in runs])
    np.testing.assert_allclose(a, (np.array([1.0, 0.5, 0.25]) - 0.125) / 0.625)
    np.testing.assert_allclose(b[:3], a)
    assert np.isnan(b[3])
    np.testing.assert_allclose(c[:2], np.array([0.75, 0.25]) / 7.25)


def test_plot_draws_one_or_more_runs(tmp_path):
    runs = [result(tmp_path / "a.h5"), result(tmp_path / "b.h5", 0.7, 80), result(tmp_path / "c.h5", rows=1)]
    for some in (runs, runs[:1], runs[2:]):
        plot(some, tmp_path / "out.png")
        assert (tmp_path / "out.png").read_bytes().startswith(PNG)
    assert "matplotlib.pyplot" not in sys.modules


def test_plot_says_what_it_cannot_draw(tmp_path):
    run = result(tmp_path / "a.h5")
    with pytest.raises(ValueError, match=r"out.bmp: unknown suffix; known: .*png"):
        plot([run], tmp_path / "out.bmp")
    with pytest.raises(ValueError, match="the history is empty"):
        plot([result(tmp_path / "b.h5", rows=0)], tmp_path / "out.png")
    with pytest.raises(OSError, match=r"^cannot write .*No such file or directory$"):
        plot([run], tmp_path / "absent" / "out.png")


def test_a_picture_has_every_chart_and_names_each_curve_once(tmp_path):
    crosses = Curve("of the paper", [1.0], [2.0], mode="markers")
    charts = [
        Chart("first", "rounds", "gap", [curve("ours", [1, 9], [1, 2]), crosses, crosses], xaxis="log"),
        Chart("second", "seconds", "gap", [curve("ours", [0.0], [np.nan])]),
        Chart("third", "kills", "accuracy", [curve("behind", [0, 1], [-1, 4], -1)], yaxis="linear"),
    ]
    draw(charts, tmp_path / "out.svg", 2)
    text = (tmp_path / "out.svg").read_text()
    once = ("first", "rounds", "ours", "of the paper", "second", "nothing above zero", "third", "behind", "accuracy")
    assert {words: text.count(f"<!-- {words} -->") for words in once} == dict.fromkeys(once, 1)
