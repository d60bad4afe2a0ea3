"""Results and checkpoints that revision 9df78b6 wrote still load, predict and resume as they did there.

`before/expected.json` holds what that revision itself predicted from its results and got from its checkpoints.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import mpiopt
from mpiopt.results.result_file import read_result
from tests.golden.front import run_in_threads

BEFORE = Path(__file__).with_name("before")
EXPECTED = json.loads((BEFORE / "expected.json").read_text())


@pytest.mark.parametrize("name", EXPECTED)
def test_a_result_of_before_loads_and_predicts_as_before(name, tmp_path, monkeypatch):
    expected, out = EXPECTED[name], tmp_path / "predicted.txt"
    result = read_result(BEFORE / f"{name}.h5")
    assert result.coef.tolist() == expected["coef"]
    assert result.intercept.tolist() == expected["intercept"]
    assert result.history[-1]["objective"] == expected["objective"]
    monkeypatch.chdir(BEFORE)
    words = ["predict", f"{name}.h5", expected["words"][0], "--out", str(out), "--quiet"]
    assert run_in_threads(1, words) == 0
    np.testing.assert_allclose(np.loadtxt(out), np.array(expected["predicted"], float), rtol=1e-12)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_result_of_before_opens_as_frames(name):
    run = mpiopt.results.open(BEFORE / f"{name}.h5")
    assert run.finished
    assert run.history["round"].iloc[-1] == EXPECTED[name]["rounds"]
    assert len(run.traffic) == len(run.time) == EXPECTED[name]["ranks"]
    assert run.settings["path"] == EXPECTED[name]["words"][0]


@pytest.mark.parametrize("name", [name for name, found in EXPECTED.items() if "resumed" in found])
@pytest.mark.parametrize("ranks", [2, 3])
def test_a_checkpoint_of_before_resumes_to_the_same_model(name, ranks, tmp_path, monkeypatch):
    expected, folder = EXPECTED[name], tmp_path / f"{name}.ckpt"
    shutil.copytree(BEFORE / folder.name, folder)
    monkeypatch.chdir(BEFORE)
    words = [
        "train",
        *expected["words"],
        "--tol",
        "1e-9",
        "--quiet",
        "--coordinates",
        "file",
        "--resume",
        str(folder),
    ]
    assert run_in_threads(ranks, [*words, "--out", str(tmp_path / "resumed.h5")]) == expected["resumed"]["code"]
    result = read_result(tmp_path / "resumed.h5")
    assert result.history[-1]["objective"] == pytest.approx(expected["resumed"]["objective"], rel=1e-8)
    np.testing.assert_allclose(result.coef, expected["resumed"]["coef"], atol=1e-3)
    assert result.history["round"][0] == 0
    assert result.events[-1].text.startswith(f"went on from round {expected['rounds']}, ")
    if ranks == 2:  # nothing of the state is lost; the run may end earlier, at another model within tol
        assert len(result.history) <= 1.1 * expected["resumed"]["history"]
        np.testing.assert_allclose(result.coef, expected["resumed"]["coef"], atol=5e-5)
