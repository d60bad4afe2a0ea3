"""`--verify`: what is written is what was certified, and the result says what was checked."""

from dataclasses import replace

import numpy as np
import pytest

from mpiopt.algorithms.second_order import row_space
from mpiopt.comm.threads import spmd
from mpiopt.resilience.signals import StopSignal
from mpiopt.results.result_file import read_result
from mpiopt.training import outcome
from mpiopt.training.train import train

DATA = "generate:n=120,d=4,condition=1e2,task=binary"
CHECKED = {
    "auto": "rows, model, evaluation",
    "always": "rows, model, evaluation, file",
    "never": "rows, model",
}
KINDS = (
    (DATA,),
    (DATA, "--intercept", "--scale", "standard"),
    (DATA, "--loss", "softmax", "--intercept", "--coordinates", "file"),
)


def run(folder, *words, ranks=1):
    words = [*words, "--l2", "0.01", "--tol", "1e-8", "--quiet", "--out", str(folder / "run.h5"), "--overwrite"]
    codes = spmd(ranks, lambda comm: train(words, comm, StopSignal()))
    return codes, read_result(folder / "run.h5")


@pytest.mark.parametrize("verify", CHECKED)
def test_the_result_says_what_was_checked(tmp_path, verify):
    codes, result = run(tmp_path, DATA, "--verify", verify, ranks=2)
    assert codes == [0, 0]
    assert result.provenance["verified"] == CHECKED[verify]
    assert ("verify" in result.job) == (verify != "auto"), "other jobs have the text of earlier versions"


@pytest.mark.parametrize("kind", KINDS)
def test_a_right_model_passes_in_all_columns(tmp_path, kind):
    codes, result = run(tmp_path, *kind, "--verify", "always")
    assert codes == [0]
    assert result.provenance["verified"].endswith("file")


@pytest.mark.parametrize(("verify", "found"), [("always", True), ("auto", False)])
def test_a_number_that_changes_on_its_way_to_the_file_is_found(tmp_path, monkeypatch, verify, found):
    whole, calls = outcome.in_file_units, []

    def once_wrong(*arguments):
        model = whole(*arguments)
        calls.append(model)
        return replace(model, coef=model.coef * np.array([1.0, 1.0, 1.5, 1.0])) if len(calls) == 1 else model

    monkeypatch.setattr(outcome, "in_file_units", once_wrong)
    codes, result = run(tmp_path, DATA, "--verify", verify)
    assert codes == [0]
    assert len(calls) == (4 if found else 1)  # always: two conversions, in each of two lives
    right = calls[-1].coef * (1.0 if found else np.array([1.0, 1.0, 1.5, 1.0]))
    np.testing.assert_array_equal(result.coef, right)


def test_units_in_which_the_file_is_less_exact_are_told_and_the_result_is_written(tmp_path, caplog):
    rng = np.random.default_rng(0)
    x = 1e12 + rng.normal(size=200)
    rows = np.column_stack([x, rng.normal(size=200), x - 1e12 + rng.normal(size=200)])
    np.savetxt(tmp_path / "far.csv", rows, "%.17g", ",", header="far,near,y", comments="")
    codes, result = run(
        tmp_path, str(tmp_path / "far.csv"), "--target", "y", "--loss", "squared", "--intercept",
        *("--scale", "standard", "--verify", "always"), ranks=2,
    )  # fmt: skip
    assert codes == [0, 0]
    assert result.provenance["verified"] == CHECKED["auto"]
    assert "in the units of the file it is less exact" in caplog.text


def test_an_unknown_word_is_refused(tmp_path):
    with pytest.raises(ValueError, match="verify must be one of auto, always, never; not 'maybe'"):
        run(tmp_path, DATA, "--verify", "maybe")


def test_a_label_that_changes_while_the_start_is_found_is_seen_at_the_certificate(tmp_path, monkeypatch):
    whole, starts = row_space.with_start, []

    def once_changed(objective, channel):
        found = whole(objective, channel)
        assert found.epochs, "this problem is solved in the space of its rows"
        if not starts:
            objective.shard.label.setflags(write=True)
            objective.shard.label[3] *= -1.0
        starts.append(found)
        return found

    monkeypatch.setattr(row_space, "with_start", once_changed)
    codes, _ = run(tmp_path, "generate:n=20,d=100,task=binary", "--loss", "squared-hinge")
    assert codes == [0]
    assert len(starts) == 2, "the certificate of the changed label is refused, and the next life is right"
