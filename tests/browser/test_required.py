"""Where a browser is required its absence is a failure, not a skip."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

ONE = "tests/browser/test_report.py::test_all_charts_are_drawn_and_nothing_is_too_wide[1400-light]"


@pytest.mark.parametrize(("required", "code"), [("", 0), ("required", 1)])
def test_no_browser_is_a_skip_or_a_failure(tmp_path, required, code):
    variables = {k: v for k, v in os.environ.items() if k != "MPIOPT_BROWSER" and not k.startswith("PYTEST_")}
    variables |= {"PATH": str(tmp_path), "MPIOPT_BROWSER_TESTS": required}
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", ONE]
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == code, done.stdout + done.stderr
    assert "browser: none of chromium" in done.stdout


def test_the_whole_suite_of_a_fresh_machine_requires_browser_and_slurm():
    text = (ROOT / ".ci" / "run").read_text()
    assert "export MPIOPT_BROWSER_TESTS=required" in text
    assert "export MPIOPT_SLURM=required" in text
