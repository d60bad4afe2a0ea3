"""`make run` and `make clean`, as the README shows them, without the set-up: a machine that runs tests is set up."""

import os
import shutil
import subprocess
import sys

from tests.conftest import LAUNCH, ROOT, clean


def make(*words, cwd=ROOT):
    environment = clean(os.environ) | {**LAUNCH, "PYTHONPATH": str(ROOT)}
    command = ["make", "-o", "setup", f"PYTHON={sys.executable}", *words]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)


def test_run_trains_and_draws(tmp_path):
    result = tmp_path / "runs" / "a.h5"
    done = make(
        "run", "RANKS=3", "DATA=generate:n=500,d=5,task=binary", "FLAGS=--loss logistic --l2 1/N", f"RESULT={result}"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 ranks" in done.stdout
    assert f"result: {result}   picture: {result.with_suffix('.png')}" in done.stdout
    assert result.stat().st_size > 0
    assert result.with_suffix(".png").stat().st_size > 0


def test_clean_leaves_what_is_not_made_anew(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    kept, gone = (".venv/lib/__pycache__", "runs"), ("mpiopt/__pycache__", ".cache", "build", ".hypothesis")
    for name in (*kept, *gone):
        (tmp_path / name).mkdir(parents=True)
    assert make("clean", cwd=tmp_path).returncode == 0
    assert [(tmp_path / name).exists() for name in (*kept, *gone)] == [True] * len(kept) + [False] * len(gone)
