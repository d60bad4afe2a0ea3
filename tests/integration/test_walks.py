"""The walks of the tutorial: all commands of a page, one after the other, in an empty folder.

That of the cluster user is in tests/slurm, that of the administrator in tools/dist.sh.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import LAUNCH, ROOT, clean
from tests.documented import walk

MADE = {
    "analyst": ("customers.h5", "plain.h5", "path.h5", "answers.csv", "report.html", "model.pkl", "coefficients.csv"),
    "researcher": ("grid/sweep.csv", "report.html", "figure.png", "history.csv", "traffic.csv"),
}
SHOWN = {
    "analyst": ("gaps in calls: train needs --gaps", "plan[basic]", "Binomial regression", "no labels; written to"),
    "researcher": ("saga-3bit ", "6 of 6 certified", "simulated"),
}


@pytest.mark.parametrize("name", MADE)
def test_a_walk_goes_to_its_end(name, tmp_path):
    programs = Path(sys.executable).parent
    variables = clean(os.environ) | LAUNCH | {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    call = ["bash", "-e", "-c", walk(name)]
    done = subprocess.run(call, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    for shown in SHOWN[name]:
        assert shown in done.stdout
    for made in MADE[name]:
        assert (tmp_path / made).stat().st_size > 0
