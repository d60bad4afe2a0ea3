"""What only some faults have: a stale cache of kernels, and ranks that are not named where rank 0 alone reads."""

from pathlib import Path

import pytest

from mpiopt.cli.main import as_typed, is_stale_kernel, run
from mpiopt.comm.threads import single, spmd
from mpiopt.resilience.signals import StopSignal


def raised_in(folder, module):
    """Return the error of an import in a file of this folder that stands for numba's cache."""
    source = folder / "numba" / "core" / "caching.py"
    source.parent.mkdir(parents=True, exist_ok=True)
    code = compile(f"import {module}", str(source), "exec")
    with pytest.raises(ModuleNotFoundError) as caught:
        exec(code, {})
    return caught.value


def test_a_stale_cache_names_the_command_that_deletes_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/some where")
    error = raised_in(tmp_path, "mpiopt.slurm_of_old")

    def fails(*_):
        raise error

    monkeypatch.setattr("mpiopt.training.train.compile_kernels", fails)
    assert run(["train", "generate:n=50,d=3", "--out", "r.h5", "--quiet"], single(), StopSignal()) == 2
    assert capsys.readouterr().err == (
        "mpiopt: the cache of compiled kernels is of another version of mpiopt (No module named "
        "'mpiopt.slurm_of_old'); delete it: find '/some where' -name '*.nb[ic]' -delete\n"
    )


def test_other_missing_modules_are_faults(tmp_path):
    assert not is_stale_kernel(raised_in(tmp_path, "nothing_at_all"))
    with pytest.raises(ModuleNotFoundError) as caught:
        exec("import mpiopt.not_there", {})
    assert not is_stale_kernel(caught.value)


@pytest.mark.parametrize("command", ["inspect", "compare", "report", "plot"])
@pytest.mark.parametrize("size", [1, 3])
def test_a_missing_file_is_not_of_rank_0(tmp_path, monkeypatch, capsys, command, size):
    monkeypatch.chdir(tmp_path)
    codes = spmd(size, lambda c: run([command, "nofile.h5"], c, StopSignal()), timeout=60)
    assert codes == [2] * size
    assert capsys.readouterr().err == "mpiopt: nofile.h5: no such file\n"
    assert not list(Path().iterdir())


def test_a_message_has_the_flag_that_was_typed_and_the_key_of_a_job_file():
    text = "l1_groups needs an l1 above 0; l1_groups=a: no file l1_groups.csv, my_l1_groups"
    typed = "--l1-groups needs an l1 above 0; --l1-groups=a: no file l1_groups.csv, my_l1_groups"
    assert as_typed(text, ["train", "a.csv", "--l1-groups", "columns"]) == typed
    assert as_typed(text, ["train", "a.csv", "--l1-groups=columns"]) == typed
    assert as_typed(text, ["train", "job.toml", "--l1", "0"]) == text
