"""Each program in docs/examples runs on two ranks and prints what its page promises."""

import shlex
import subprocess
import sys

import pytest

from tests.conftest import ROOT, paused

EXAMPLES = ROOT / "docs" / "examples"
PROGRAMS = {
    "fit_in_python.py": "certified: True, duality gap",
    "add_a_loss.py": "pseudo-huber: certified True",
    "add_a_compressor.py": "block16: certified True",
}
SCRIPTS = {
    "fit_from_file.sh": "written to labels.txt",
    "resume_after_kill.sh": "status       certified",
    "compress_slow_link.sh": "to duality gap 1e-08",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_on_two_ranks(name, mpirun, tmp_path):
    done = mpirun(2, EXAMPLES / name, cwd=tmp_path, seconds=120)
    assert done.returncode == 0, done.stderr
    assert PROGRAMS[name] in done.stdout


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script(name, launch, tmp_path):
    command, variables = launch(2, [])
    variables |= {"MPIRUN": shlex.join(command[: command.index("-n")]), "PYTHON": shlex.quote(sys.executable)}
    if name == "resume_after_kill.sh":
        variables |= paused(0.002)  # the run lasts until it is killed, on any machine
    done = subprocess.run(
        ["bash", EXAMPLES / name], cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert SCRIPTS[name] in done.stdout
    if name == "resume_after_kill.sh":
        assert "killed; exit code 137" in done.stdout


def test_no_example_is_left_out():
    told = (EXAMPLES / "README.md").read_text()
    names = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".sh")}
    assert names == {*PROGRAMS, *SCRIPTS}
    assert all(f"`{name}`" in told for name in names)
