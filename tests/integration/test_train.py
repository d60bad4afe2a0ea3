"""The program under mpirun: exit codes, one line for an error, signals, resume."""

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from mpiopt.results.result_file import read_result
from tests.conftest import paused

PROGRAM = ("-m", "mpi4py", "-m", "mpiopt")


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(400, 6))
    y = np.where(x @ rng.normal(size=6) + rng.normal(size=400) > 0, 1, 0)
    lines = [f"{b} " + " ".join(f"{j + 1}:{v:.6g}" for j, v in enumerate(a)) for a, b in zip(x, y, strict=True)]
    (tmp_path / "points.svm").write_text("\n".join(lines) + "\n")
    return tmp_path / "points.svm"


def test_train_reaches_the_same_model_on_any_number_of_ranks(mpirun, data):
    coefs = []
    for ranks in (1, 2, 3):
        done = mpirun(ranks, *PROGRAM, "train", data, "--tol", "1e-10", "--out", f"{ranks}.h5", cwd=data.parent)
        assert done.returncode == 0, done.stderr
        assert "certified" in done.stdout
        assert done.stdout.count("status") == 1
        coefs.append(read_result(data.parent / f"{ranks}.h5").coef)
    np.testing.assert_allclose(coefs[1], coefs[0], atol=1e-6)
    np.testing.assert_allclose(coefs[2], coefs[0], atol=1e-6)


def test_a_users_error_ends_all_ranks_with_one_line_and_code_2(mpirun, data):
    data.write_text(data.read_text() + "1 3:abc\n")
    for words in (["train", data], ["train", data, "--tolx", "1"], ["trane"], ["train", "missing"]):
        done = mpirun(3, *PROGRAM, *words, cwd=data.parent)
        assert done.returncode == 2
        lines = [line for line in done.stderr.splitlines() if "mpiopt: " in line]
        assert len(lines) == 1
        assert "Traceback" not in done.stderr
        assert not list(data.parent.glob("*.h5"))


def test_cut_by_a_budget_and_resumed_on_the_same_ranks_it_is_bitwise_the_whole_run(mpirun, data):
    words = ["train", data, "--algorithm", "lbfgs[sampled=false]", "--tol", "1e-10", "--quiet"]
    assert mpirun(2, *PROGRAM, *words, "--out", "whole.h5", cwd=data.parent).returncode == 0
    assert mpirun(2, *PROGRAM, *words, "--out", "cut.h5", "--max-epochs", "6", cwd=data.parent).returncode == 3
    assert mpirun(2, *PROGRAM, *words, "--out", "cut.h5", "--resume", "auto", cwd=data.parent).returncode == 0
    whole, cut = read_result(data.parent / "whole.h5"), read_result(data.parent / "cut.h5")
    assert whole.coef.tobytes() == cut.coef.tobytes()


def test_the_module_alone_is_one_rank(data):
    done = subprocess.run(
        [sys.executable, "-m", "mpiopt", "train", data, "--quiet"],
        cwd=data.parent,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (data.parent / "points.h5").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGUSR1, 75), (signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_says_so_by_its_code(tmp_path, number, code):
    words = [
        "train",
        "generate:n=30000,d=60,condition=1e8,task=binary",
        "--algorithm",
        "lbfgs[sampled=false]",
        "--out",
        "long.h5",
    ]
    words += ["--tol", "1e-300", "--max-epochs", "1e9"]
    with subprocess.Popen(
        [sys.executable, "-m", "mpiopt", *words],
        cwd=tmp_path,
        env=os.environ | paused(0.002),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stdout:
            if "objective" in line:
                break
        time.sleep(0.2)
        process.send_signal(number)
        assert process.wait(30) == code, process.stderr.read()
    assert read_result(tmp_path / "long.h5").provenance["exit_status"] == code
    assert (tmp_path / "long.ckpt").is_dir()


def test_a_compressed_run_is_certified_and_inspect_shows_what_it_saved(mpirun, data):
    words = ["train", data, "--compress", "quantised", "--downlink", "--algorithm", "saga", "--tol", "1e-10"]
    done = mpirun(3, *PROGRAM, *words, "--out", "small.h5", cwd=data.parent)
    assert done.returncode == 0, done.stderr
    assert "exchanges: quantised[levels=7,norm=max,block=128], memory error-feedback, both ways" in done.stdout
    assert mpirun(3, *PROGRAM, *words[:2], *words[5:], "--out", "plain.h5", cwd=data.parent).returncode == 0
    small, plain = (read_result(data.parent / name) for name in ("small.h5", "plain.h5"))
    row, exact = small.history[-1], plain.history[-1]
    # l2 is 1/400, so F(w) - F* >= |w - w*|^2 / 800: two certified models lie within this distance.
    apart = 2 * np.sqrt(800 * 1e-10 * exact["objective"])
    np.testing.assert_allclose(small.coef, plain.coef, rtol=0, atol=apart)
    assert 0 < row["bytes_sent"] < row["bytes_plain"]
    assert exact["bytes_plain"] == pytest.approx(exact["bytes_sent"], rel=1e-3)
    shown = mpirun(1, *PROGRAM, "inspect", "small.h5", cwd=data.parent)
    assert shown.returncode == 0, shown.stderr
    assert "quantised[levels=7,norm=max,block=128], memory error-feedback, both ways" in " ".join(
        shown.stdout.split()
    )
    assert re.search(r"bytes sent +\S+ kB, 1/\S+ of \S+ kB", shown.stdout)
    words = [*words, "--resume", "auto", "--out", "cut.h5"]
    assert mpirun(3, *PROGRAM, *words, "--max-epochs", "6", cwd=data.parent).returncode == 3
    assert mpirun(3, *PROGRAM, *words, cwd=data.parent).returncode == 0
    assert read_result(data.parent / "cut.h5").coef.tobytes() == small.coef.tobytes()
