"""Batch scripts from templates, what Slurm's programs say, and the runs of a folder; the programs are stand-ins."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mpiopt.cluster.slurm import requeue, scripts
from mpiopt.core import slurm_query
from mpiopt.resilience.deadline import Halt, read_halt
from mpiopt.resilience.lease import FolderLease, new_lease
from mpiopt.resilience.signals import StopLevel, StopSignal
from tests.cases.command import mpiopt

TEMPLATES = sorted(scripts.TEMPLATES.glob("*.sbatch"))
JOB = 'path = "generate:n=300,d=6,task=binary"\nout = "runs/a.h5"\n'


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with stand-ins for Slurm's programs in it, first in PATH; each says what its file says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    (tmp_path / "bin").mkdir()
    for name in ("sbatch", "squeue", "sacct"):
        program = tmp_path / "bin" / name
        program.write_text(
            f'#!/bin/sh\necho "$@" >>{tmp_path}/{name}.asked\ncat {tmp_path}/{name}.says 2>/dev/null\n'
        )
        program.chmod(0o755)
    (tmp_path / "job.toml").write_text(JOB)
    return tmp_path


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_a_template_is_bash_and_lies_in_jobs(path):
    assert subprocess.run(["bash", "-n", path], capture_output=True, text=True).stderr == ""
    assert (Path(__file__).parents[3] / "jobs" / path.name).resolve() == path
    assert scripts.BODY in path.read_text()
    assert max(map(len, path.read_text().splitlines())) <= 120


def test_a_filled_template_has_the_new_options_and_no_old_ones():
    text = scripts.filled(
        scripts.read("train"), {"nodes": "7", "exclusive": ""}, {"PYTHON": "/a b/python"}, ["x y"], "shown"
    )
    head, body = text.split(scripts.BODY)
    assert head.startswith("#!/bin/bash\n")
    lines = head.splitlines()
    options = [line for line in lines if line.startswith("#SBATCH")]
    assert lines[1 : 1 + len(options)] == options  # sbatch reads no further than the first command
    assert [line for line in options if "nodes" in line] == ["#SBATCH --nodes=7"]
    assert "#SBATCH --exclusive" in options
    assert "#SBATCH --requeue" in options
    assert "PYTHON='/a b/python'\n" in head
    assert "set -- 'x y'\n" in head
    assert body == scripts.read("train").split(scripts.BODY)[1]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 1800), ("1:30", 90), ("4:00:00", 14400), ("2-12", 216000), ("1-0:30", 88200), ("1-2:03:04", 93784)],
)
def test_time_limits_are_read_as_slurm_does(text, seconds):
    assert scripts.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "4h", "1:2:3:4", "-5", "a-1"])
def test_other_time_limits_are_refused(text):
    with pytest.raises(ValueError, match="--time must be like 30"):
        scripts.seconds(text)


def test_submit_writes_what_the_user_can_keep_and_calls_sbatch(here, capsys):
    (here / "sbatch.says").write_text("12;cluster\n")
    words = shlex.split("job.toml --nodes 4 --tasks-per-node 32 --time 4:00:00 --tol 1e-8 -- --qos=long")
    assert mpiopt("submit", *words) == 0
    assert capsys.readouterr().out == "job 12: runs/a.sbatch\n"
    assert (here / "sbatch.asked").read_text() == "--parsable runs/a.sbatch\n"
    text = (here / "runs" / "a.sbatch").read_text()
    assert "ENVIRONMENT=runs/a.env\n" in text
    options = shlex.split("nodes=4 ntasks-per-node=32 time=4:00:00 signal=USR1@300 job-name=a output=runs/a.out")
    for line in (*options, "qos=long"):
        assert f"#SBATCH --{line}\n" in text
    assert "set -- job.toml --tol 1e-8 --out runs/a.h5\n" in text
    assert text.splitlines()[-1].startswith("# submitted as job 12 on ")
    assert subprocess.run(["bash", "-n", "runs/a.sbatch"], capture_output=True).returncode == 0


def test_a_short_job_is_told_in_time_and_other_launchers_have_other_templates(here):
    assert mpiopt("submit", "job.toml", "--time", "4", "--dry-run", "--launcher", "mpirun", "--partition", "p") == 0
    text = (here / "runs" / "a.sbatch").read_text()
    assert "#SBATCH --signal=B:USR1@60\n" in text
    assert "#SBATCH --partition=p\n" in text
    assert "trap 'kill -USR1 $launcher' USR1" in text
    words = ("--launcher", "launch", "--nodes", "2", "--spares", "1", "--dry-run", "--overwrite")
    assert mpiopt("submit", "job.toml", *words) == 0
    text = (here / "runs" / "a.sbatch").read_text()
    assert "#SBATCH --no-kill\n" in text
    assert "SPARES=1\n" in text
    assert 'launch -n "$ranks" --spares "$SPARES" -- train' in text
    assert mpiopt("submit", "job.toml", "--elastic", "--dry-run", "--overwrite") == 0
    assert "#SBATCH --no-kill\n" in (here / "runs" / "a.sbatch").read_text()
    assert not (here / "sbatch.asked").exists()


def test_what_a_site_asks_for_goes_into_the_script(here):
    (here / "sbatch.says").write_text("12\n")
    words = "--cpus-per-task 8 --mem 64G --signal USR2@600 --modules openmpi/5.0,hdf5 --constraint ib --gres none"
    words += " --mail me@example.org --bind cores -- --exclusive -q long --comment 'a b' --time=2:00:00 --wait"
    assert mpiopt("submit", "job.toml", *shlex.split(words)) == 0
    head, body = (here / "runs" / "a.sbatch").read_text().split(scripts.BODY)
    options = {line.removeprefix("#SBATCH --") for line in head.splitlines() if line.startswith("#SBATCH")}
    assert options >= {"cpus-per-task=8", "mem=64G", "signal=USR2@600", "constraint=ib", "gres=none", "qos=long"}
    assert options >= {"mail-user=me@example.org", "mail-type=END,FAIL,REQUEUE", "exclusive", 'comment="a b"'}
    assert {line for line in options if line.startswith("time=")} == {"time=2:00:00"}
    assert "module load openmpi/5.0 hdf5\n" in head
    assert "BIND=--cpu-bind=cores\n" in head
    assert 'launch="srun --mpi=$MPI_TYPE --kill-on-bad-exit=0 $BIND"\n' in body
    assert (here / "sbatch.asked").read_text() == "--parsable --wait runs/a.sbatch\n"
    assert mpiopt("submit", "job.toml", "--bind", "nomultithread", "--launcher", "mpirun", "--overwrite") == 0
    head = (here / "runs" / "a.sbatch").read_text().split(scripts.BODY)[0]
    assert "#SBATCH --hint=nomultithread\n" in head
    assert "#SBATCH --signal=B:USR1@300\n" in head


@pytest.mark.parametrize("flag", ["--a\nrm -rf x", "--a b", "--a\n", "--A", "--\u2028", "-"])
def test_a_name_of_a_flag_of_sbatch_cannot_begin_a_line(here, capsys, flag):
    for word in (flag, f"{flag}=1"):
        assert mpiopt("submit", "job.toml", "--", word) == 2
        assert "submit takes flags of sbatch" in capsys.readouterr().err
    assert not (here / "runs" / "a.sbatch").exists()


def test_an_answer_of_sbatch_that_is_no_number_is_shown_and_not_written_into_the_script(here, capsys):
    (here / "sbatch.says").write_text("Usage: sbatch\nrm -rf x\n")
    assert mpiopt("submit", "job.toml", "--", "--help") == 0
    assert capsys.readouterr().out == "Usage: sbatch\nrm -rf x\n"
    assert "rm -rf" not in (here / "runs" / "a.sbatch").read_text()


def test_a_link_in_place_of_the_script_is_replaced_and_not_followed(here):
    (here / "runs").mkdir(exist_ok=True)
    (here / "mine").write_text("text")
    (here / "runs" / "a.sbatch").symlink_to(here / "mine")
    assert mpiopt("submit", "job.toml", "--dry-run", "--overwrite") == 0
    assert (here / "mine").read_text() == "text"


def test_where_requeues_are_forbidden_a_chain_of_jobs_goes_on(here, capsys):
    (here / "sbatch.says").write_text("12\n")
    assert mpiopt("submit", "job.toml", "--chain", "3") == 0
    text = (here / "runs" / "a.sbatch").read_text()
    assert "#SBATCH --no-requeue\n" in text
    assert "#SBATCH --requeue\n" not in text
    assert "REQUEUE=no\n" in text
    assert text.count("# submitted as job") == 1
    first, *others = (here / "sbatch.asked").read_text().splitlines()
    assert first == "--parsable runs/a.sbatch"
    assert others == ["--parsable --dependency=afternotok:12 --kill-on-invalid-dep=yes runs/a.sbatch"] * 2


@pytest.mark.parametrize("template", ["train", "train-mpirun", "elastic", "sweep"])
def test_a_script_says_where_slurm_refuses_to_requeue_and_keeps_the_environment_out_of_the_log(here, template):
    answers = {"scontrol": "exit 1", "srun": "exit 75", "squeue": "echo 1", "mpirun": "exit 75", "sleep": "exit 0"}
    for name, answer in answers.items():
        (here / "bin" / name).write_text(f'#!/bin/sh\necho "$@" >>{here}/{name}.asked\n{answer}\n')
        (here / "bin" / name).chmod(0o755)
    job = {"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "9", "SLURM_ARRAY_TASK_ID": "3", "MPIRUN": "mpirun"}
    variables = os.environ | job | {"ENVIRONMENT": "a.env", "PYTHON": sys.executable}
    call = ["bash", scripts.TEMPLATES / f"{template}.sbatch", "job.toml"]
    done = subprocess.run(call, env=variables, capture_output=True, text=True)
    assert done.returncode == 75, done.stderr
    assert "Slurm does not requeue this job; submit this script again" in done.stdout
    assert (here / "scontrol.asked").read_text() == f"requeue {'9_3' if template == 'sweep' else '9'}\n"
    assert "SLURM_JOB_ID=9\n" in (here / "a.env").read_text()
    assert "SLURM_ARRAY_TASK_ID" not in done.stdout
    (here / "mine").write_text("text")
    (here / "a.env").unlink()
    (here / "a.env").symlink_to(here / "mine")
    variables |= {"SLURM_JWT": "abc"}
    done = subprocess.run(call, env=variables | {"REQUEUE": "no"}, capture_output=True, text=True)
    assert done.returncode == 75
    assert "it goes on when this script is submitted again" in done.stdout
    assert (here / "mine").read_text() == "text", "a link is not followed"
    assert "SLURM_JOB_ID=9\n" in (here / "a.env").read_text()
    assert "abc" not in (here / "a.env").read_text(), "Slurm's token is a secret"


@pytest.mark.parametrize("text", ["a[$(touch executed)]", "08", "3; touch executed", "", "-3", "1" * 30])
def test_what_is_no_number_of_ranks_is_told_and_never_run(here, text):
    answers = {"scontrol": "exit 1", "srun": "exit 75", "squeue": "echo 1", "sleep": "exit 0"}
    for name, answer in answers.items():
        (here / "bin" / name).write_text(f"#!/bin/sh\n{answer}\n")
        (here / "bin" / name).chmod(0o755)
    (here / "a.ranks").write_text(f"{text}\n")
    variables = {"SLURM_JOB_ID": "9", "ENVIRONMENT": "a.env", "RESIZE": "a.ranks", "PYTHON": sys.executable}
    call = ["bash", scripts.TEMPLATES / "elastic.sbatch", "job.toml"]
    done = subprocess.run(call, env=os.environ | variables, capture_output=True, text=True)
    assert done.returncode == 75, done.stderr
    assert "a.ranks has no number of ranks" in done.stdout
    assert not (here / "executed").exists()


def test_a_script_that_was_changed_is_not_written_over(here, capsys):
    script = here / "runs" / "a.sbatch"
    (here / "sbatch.says").write_text("12\n")
    for _ in range(2):  # what is the same but for dates is submitted again
        assert mpiopt("submit", "job.toml") == 0
        stale = script.read_text().replace("submit on 2", "submit on 1")
        script.write_text(stale)
    assert (here / "sbatch.asked").read_text().count("\n") == 2
    mine = script.read_text().replace("set -u\n", "set -u\nmodule load mpi\n")
    script.write_text(mine)
    capsys.readouterr()
    for words in ((), ("--dry-run",)):
        assert mpiopt("submit", "job.toml", *words) == 2
        shown = capsys.readouterr().err
        assert "`sbatch runs/a.sbatch` submits it as it is, --overwrite replaces it" in shown
        assert shown.count("\n") == 1
        assert script.read_text() == mine
    assert (here / "sbatch.asked").read_text().count("\n") == 2
    assert mpiopt("submit", "job.toml", "--overwrite") == 0
    assert "module load" not in script.read_text()


def test_of_a_sweep_both_scripts_are_written_or_none(here, capsys):
    (here / "s.toml").write_text('path = "generate:"\nout = "grid"\n[sweep]\nseed = [0, 1, 2]\n')
    assert mpiopt("submit", "s.toml", "--dry-run") == 0
    with (here / "grid" / "collect.sbatch").open("a") as file:
        file.write("mail me\n")
    before = (here / "grid" / "sweep.sbatch").read_text()
    assert mpiopt("submit", "s.toml", "--dry-run", "--time", "9") == 2
    assert (here / "grid" / "sweep.sbatch").read_text() == before


def test_a_sweep_is_an_array_and_a_table_after_it(here, capsys):
    (here / "sbatch.says").write_text("12\n")
    (here / "s.toml").write_text('path = "generate:"\nout = "grid"\n[sweep]\nseed = [0, 1, 2]\n')
    assert mpiopt("submit", "s.toml", "--at-once", "2") == 0
    assert capsys.readouterr().out == "job 12: grid/sweep.sbatch\njob 12: grid/collect.sbatch\n"
    assert "#SBATCH --array=0-2%2\n" in (here / "grid" / "sweep.sbatch").read_text()
    last = (here / "sbatch.asked").read_text().splitlines()[-1]
    assert last == "--parsable --dependency=afterany:12 --kill-on-invalid-dep=yes grid/collect.sbatch"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "submit JOB.toml"),
        (("job.toml", "--nodes", "0"), "--nodes must be at least 1, not 0"),
        (("job.toml", "--nodes", "many"), "nodes must be a whole number"),
        (("job.toml", "--time", "4h"), "--time must be like 30"),
        (("job.toml", "--launcher", "ssh"), "--launcher must be srun, mpirun or launch"),
        (("job.toml", "--node", "2"), "unknown flag --node (did you mean --nodes"),
        (("job.toml", "--tol", "-1"), "tol must be greater than 0"),
        (("absent.svm",), "absent.svm: no such file"),
        (("job.toml", "--template", "job.toml"), "a template needs a line 'set -u'"),
        (("job.toml", "--elastic", "--launcher", "mpirun"), "--elastic needs srun"),
        (("job.toml", "--signal", "TERM@60"), "--signal must be USR1 or USR2, with seconds as in USR1@300"),
        (("job.toml", "--bind", "sockets"), "--bind must be one of none, cores, nomultithread"),
        (("job.toml", "--", "long"), "submit takes flags of sbatch, as --qos=long; not 'long'"),
        (("job.toml", "--spares", "1"), "--spares needs --launcher launch"),
        (("job.toml", "--chain", "-1"), "--chain must be at least 0"),
    ],
)
def test_submit_refuses_before_anything_is_queued(here, capsys, words, says):
    assert mpiopt("submit", *words) == 2
    assert says in capsys.readouterr().err
    assert not (here / "sbatch.asked").exists()


def test_what_sbatch_says_is_one_line(here, capsys):
    (here / "bin" / "sbatch").write_text("#!/bin/sh\necho 'error: no such' >&2\necho partition >&2\nexit 1\n")
    assert mpiopt("submit", "job.toml") == 2
    assert capsys.readouterr().err == "mpiopt: sbatch refuses runs/a.sbatch: error: no such partition\n"
    (here / "bin" / "sbatch").unlink()
    os.environ["PATH"] = f"{here}/bin"
    assert mpiopt("submit", "job.toml") == 2
    assert "there is no sbatch here; runs/a.sbatch is written" in capsys.readouterr().err


def test_states_come_from_the_queue_and_what_it_forgot_from_accounting(here):
    (here / "squeue.says").write_text("1|RUNNING\n2|COMPLETED\n")
    (here / "sacct.says").write_text("3|CANCELLED by 1000\n")
    assert slurm_query.states(["1", "3", "4"]) == {"1": "RUNNING", "3": "CANCELLED"}
    assert "-j 3,4 " in (here / "sacct.asked").read_text()
    for name in ("squeue", "sacct"):
        (here / "bin" / name).write_text("#!/bin/sh\nexit 1\n")
    assert slurm_query.states(["1"]) == {}
    assert slurm_query.states([]) == {}


def cells(capsys):
    """Return the cells of each line of `status`, by run."""
    assert mpiopt("status") == 0
    found = {}
    for line in capsys.readouterr().out.splitlines()[1:]:
        name, *rest = line.split("  ")[1:]
        found[name.strip()] = [cell.strip() for cell in rest if cell.strip()]
    return found


def test_status_says_what_it_takes(here, capsys):
    for place, message in (
        ("rusn", "rusn: no such folder (did you mean 'runs'?)"),
        ("job.toml", "is a file; status takes"),
    ):
        (here / "runs").mkdir(exist_ok=True)
        assert mpiopt("status", place) == 2
        assert message in capsys.readouterr().err


def test_status_waits_for_no_pipe_and_reads_a_script_that_was_cut(here, capsys):
    (here / "runs" / "a.ckpt").mkdir(parents=True)
    for name in ("a.sbatch", "b.h5", "a.ckpt/owner", "a.ckpt/halt", "a.ckpt/000001.h5"):
        os.mkfifo(here / "runs" / name)
    (here / "runs" / "c.sbatch").write_text("#!/bin/bash\n# submitted as job ")
    assert read_halt(here / "runs" / "a.ckpt") == Halt()
    assert mpiopt("status", "runs") == 0
    assert capsys.readouterr().out == "runs: no runs\n"


def test_status_without_slurm(here, capsys):
    for name in ("sbatch", "squeue", "sacct"):
        (here / "bin" / name).unlink()
    assert mpiopt("status") == 0
    assert capsys.readouterr().out == ".: no runs\n"
    assert mpiopt("train", "job.toml", "--quiet") == 0
    stop = StopSignal()
    stop.level = StopLevel.SIGUSR1
    words = ["train", "job.toml", "--quiet", "--algorithm", "lbfgs[sampled=false]", "--out", "cut.h5"]
    assert mpiopt(*words, stop=stop) == 75
    FolderLease(here / "alive.ckpt").claim()
    FolderLease(here / "dead.ckpt").claim()
    life = vars(new_lease({}))
    (here / "dead.ckpt" / "owner").write_text(json.dumps(life | {"pid": 1, "born": 1, "number": 3}))
    (here / "far.ckpt").mkdir()
    (here / "far.ckpt" / "owner").write_text(json.dumps(life | {"host": "elsewhere"}))
    (here / "notes.h5").write_text("no HDF5")
    found = cells(capsys)
    assert found["runs/a"][0] == "certified"
    assert found["cut"][0] == "to be continued"
    assert found["alive"][0] == "running"
    assert (found["dead"][0], found["dead"][-2]) == ("died", "2")
    assert found["far"][0] == "unknown, was on elsewhere"
    assert "notes" not in found


def test_a_run_that_was_halted_is_called_so_and_goes_on_after_it(here, capsys):
    words = shlex.split("train job.toml --quiet --algorithm lbfgs[sampled=false] --out a.h5 --resume auto")
    assert mpiopt(*words, "--max-epochs", "3") == 3
    assert cells(capsys)["a"][0] == "budget spent"
    stop = StopSignal()
    stop.level = StopLevel.HALT
    assert mpiopt(*words, stop=stop) == 3
    assert cells(capsys)["a"][0] == "halted"
    (here / "a.ckpt" / "halt").write_text('{"at": 1000.0}')  # of a run that was killed
    assert mpiopt(*words) == 0
    assert cells(capsys)["a"][0] == "certified"


def test_status_with_slurm(here, capsys):
    (here / "sbatch.says").write_text("12\n")
    assert mpiopt("submit", "job.toml") == 0
    capsys.readouterr()
    (here / "squeue.says").write_text("12|PENDING\n")
    assert cells(capsys)["runs/a"] == ["waiting", *"------", "12"]
    (here / "squeue.says").write_text("12|RUNNING\n")
    assert cells(capsys)["runs/a"][0] == "starting or ending"
    os.makedirs("runs/a.ckpt")
    life = vars(new_lease({})) | {"job": "12", "host": "n1", "number": 2}
    Path("runs/a.ckpt/owner").write_text(json.dumps(life))
    assert cells(capsys)["runs/a"][0] == "running"
    (here / "squeue.says").write_text("12|PENDING\n")  # preempted and requeued
    (here / "sacct.says").write_text("12|PREEMPTED\n")
    assert cells(capsys)["runs/a"][0] == "waiting"
    (here / "squeue.says").write_text("")
    assert cells(capsys)["runs/a"][0] == "died (PREEMPTED)"
    (here / "sacct.says").write_text("")
    (here / "squeue.says").write_text("12|NODE_FAIL\n")
    assert cells(capsys)["runs/a"][0] == "died (NODE_FAIL)"
    (here / "squeue.says").write_text("")
    assert cells(capsys)["runs/a"][0] == "unknown, was on n1"
    (here / "sacct.says").write_text("12|TIMEOUT\n")
    assert cells(capsys)["runs/a"][0] == "died (TIMEOUT)"


def test_the_newest_checkpoint_tells_how_far_a_run_is(here, capsys):
    words = ["train", "job.toml", "--quiet", "--algorithm", "lbfgs[sampled=false]", "--max-epochs", "3"]
    assert mpiopt(*words, "--tol", "1e-7", "--out", "a.h5") == 3
    os.unlink("a.h5")
    state, certificate, tol, epoch, rounds, saved, restarts, job = cells(capsys)["a"]
    assert (state, tol, restarts, job) == ("ended", "1e-07", "0", "-")
    assert float(certificate) > 0
    assert 3 <= float(epoch) < 5
    assert int(rounds) > 0
    assert saved.endswith("ago")


def test_a_checkpoint_counts_if_it_is_newer_than_the_start_of_the_script(here):
    (here / "s.toml").write_text('path = "generate:"\nout = "grid"\n[sweep]\nseed = [0, 1]\n')
    for place in ("runs/a.ckpt", "grid/seed=1.ckpt"):
        (here / place).mkdir(parents=True)
        for name in ("000001.h5", "000002.shard-0-of-1.h5"):  # the second was not finished
            (here / place / name).touch()
        os.utime(here / place / "000001.h5", (1000, 1000))
    for words in (["job.toml"], ["s.toml"], ["s.toml", "--task", "1"]):
        assert requeue.saved_since(1000, words)
        assert not requeue.saved_since(1001, words)
    assert not requeue.saved_since(1000, ["s.toml", "--task", "0"])
    assert not requeue.saved_since(1000, ["job.toml", "--out", "other.h5"])


@pytest.mark.parametrize(("seconds", "code"), [("1000", 0), ("1001", 1), ("soon", 1)])
def test_scripts_of_older_versions_ask_by_the_old_name_of_the_module(here, seconds, code):
    (here / "runs" / "a.ckpt").mkdir(parents=True)
    (here / "runs" / "a.ckpt" / "000001.h5").touch()
    os.utime(here / "runs" / "a.ckpt" / "000001.h5", (1000, 1000))
    variables = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    answers = [
        subprocess.run(
            [sys.executable, "-W", "always", "-m", module, seconds, "job.toml"],
            env=variables,
            capture_output=True,
            text=True,
        )
        for module in ("mpiopt.slurm.saved", "mpiopt.cluster.slurm.requeue")
    ]
    assert [answer.returncode for answer in answers] == [code, code]
    assert "DeprecationWarning: mpiopt.slurm.saved has moved to mpiopt.cluster.slurm.requeue" in answers[0].stderr
    assert "DeprecationWarning" not in answers[1].stderr


def test_commands_from_outside_start_no_mpi_inside_a_job():
    from mpiopt.core.config.commands import runs_without_mpi

    assert all(runs_without_mpi(words) for words in (["status"], ["halt", "a"], ["sweep", "a", "--collect"]))
    assert not any(runs_without_mpi(words) for words in ([], ["train", "a"], ["sweep", "a"]))
