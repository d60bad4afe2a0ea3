"""The command `submit`: write a batch script from a template, which is the user's to read and keep, and submit it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from mpiopt.cluster import sweep
from mpiopt.cluster.slurm import scripts
from mpiopt.comm.base import Comm
from mpiopt.core.config import job_file
from mpiopt.core.config.flags import parse, typed
from mpiopt.core.config.job import Job, at_least
from mpiopt.data.formats.synthetic import PREFIX
from mpiopt.resilience.signals import StopSignal
from mpiopt.training.job_args import job_of

USAGE = (
    "submit JOB.toml|DATA --nodes N --tasks-per-node N --time 4:00:00 [--dry-run] [--overwrite] [flags of train] "
    "[-- of sbatch]"
)
NOTICE = 300  # seconds before the end at which the ranks are told; a quarter of a short job's time
WRITTEN = "Written by mpiopt submit on "
SUBMITTED = "# submitted as job "  # the line that is added to the script; `mpiopt status` reads it


@dataclass(frozen=True)
class Asked:
    """What is asked of Slurm; each field is a flag."""

    nodes: int = 1
    tasks_per_node: int = 1
    time: str = "1:00:00"
    partition: str = ""
    account: str = ""
    name: str = ""  # of the job; default: that of the result
    launcher: str = "srun"  # or mpirun
    mpi: str = "pmix"  # of srun: pmix for Open MPI, pmi2 for MPICH
    template: str = ""  # a file of the user's own
    at_once: int = 0  # members of a sweep that may run at the same time; 0: any number
    max_restarts: int = 20
    elastic: bool = False
    dry_run: bool = False
    overwrite: bool = False  # a script that is there and differs

    def __post_init__(self) -> None:
        scripts.seconds(self.time)
        for name, least in {"nodes": 1, "tasks_per_node": 1, "at_once": 0, "max_restarts": 0}.items():
            at_least(f"--{name.replace('_', '-')}", getattr(self, name), least)
        if self.launcher not in ("srun", "mpirun"):
            raise ValueError(f"--launcher is srun or mpirun, not {self.launcher!r}")
        if self.elastic and self.launcher != "srun":
            raise ValueError("--elastic starts with srun, not with mpirun")

    def options(self) -> dict[str, str]:
        """Give the options of sbatch that do not depend on the job."""
        notice = f"USR1@{min(NOTICE, scripts.seconds(self.time) // 4)}"
        where = {"partition": self.partition, "account": self.account}
        return {
            "nodes": str(self.nodes),
            "ntasks-per-node": str(self.tasks_per_node),
            "time": self.time,
            "signal": f"B:{notice}" if self.launcher == "mpirun" else notice,
            "chdir": os.getcwd(),
            **{name: value for name, value in where.items() if value},
        }

    def variables(self) -> dict[str, str]:
        """Give the variables that the templates read."""
        launcher = Path(sys.executable).with_name("mpirun")
        told = {"PYTHON": sys.executable, "MAX_RESTARTS": str(self.max_restarts)}
        if self.launcher == "srun":
            return {**told, "MPI_TYPE": self.mpi}
        return {**told, "MPIRUN": f"{launcher if launcher.exists() else 'mpirun'} --bind-to none"}


def submit(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Write the script, or with a [sweep] those of the array and of its table, and hand them to sbatch."""
    ours = {f.name.replace("_", "-"): f.default is not False for f in fields(Asked)}
    words, extra = split(words)
    positional, settings = parse(words, {**job_file.flags(), **ours})
    if not positional:
        raise ValueError(USAGE)
    told = [(key.replace("-", "_"), text) for key, text in settings if key in ours]
    asked = Asked(**typed(Asked, told))
    rest = [*positional, *(word for key, text in settings if key not in ours for word in back(key, text))]
    found = sweep.found(rest)
    return sent_sweep(asked, rest, found, extra) if found else sent_job(asked, rest, extra)


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Give the words before `--`, and those after it, which are sbatch's."""
    at = list(words).index("--") if "--" in words else len(words)
    return list(words[:at]), list(words[at + 1 :])


def back(key: str, text: str) -> list[str]:
    """Give the words of a flag of `train` that was parsed."""
    return [f"--{key}"] if not job_file.flags()[key] else [f"--{key}", text]


def sent_job(asked: Asked, words: list[str], extra: list[str]) -> int:
    """Submit one training run."""
    job = job_of(words)
    refuse_missing(job)
    out = Path(job.out)
    usual = "elastic" if asked.elastic else {"srun": "train", "mpirun": "train-mpirun"}[asked.launcher]
    options = {"job-name": asked.name or out.stem, **asked.options(), "output": str(out.with_suffix(".out"))}
    words = words if {"--out", "-o"} & {*words} else [*words, "--out", job.out]
    [script] = written([Script(out.with_suffix(".sbatch"), asked.template or usual, options)], asked, words)
    send(script, extra, asked)
    return 0


def sent_sweep(asked: Asked, words: list[str], found: sweep.Sweep, extra: list[str]) -> int:
    """Submit an array with a task for each member, and a job after it that collects."""
    if (asked.launcher == "mpirun" or asked.elastic) and not asked.template:
        raise ValueError("a sweep is started with srun, and is not elastic; give --template for another script")
    for member in found.members:
        refuse_missing(member.job)
    folder = found.folder
    name = asked.name or folder.name
    array = f"0-{len(found.members) - 1}" + (f"%{asked.at_once}" if asked.at_once else "")
    options = {"job-name": name, **asked.options(), "array": array, "output": str(folder / "task-%a.out")}
    after = {"job-name": f"{name}-table", "time": "10", "output": str(folder / "collect.out")}
    after |= {key: value for key, value in asked.options().items() if key in ("partition", "account", "chdir")}
    array_of = Script(folder / "sweep.sbatch", asked.template or "sweep", options)
    script, table = written([array_of, Script(folder / "collect.sbatch", "collect", after)], asked, words)
    number = send(script, extra, asked)
    send(table, [f"--dependency=afterany:{number or 'JOB'}", "--kill-on-invalid-dep=yes"], asked)
    return 0


def refuse_missing(job: Job) -> None:
    """Refuse a data file that is not there before anything waits in a queue for it."""
    for path in filter(None, (job.path, job.data.test)):
        if not path.startswith(PREFIX) and not Path(path).exists():
            raise ValueError(f"{path}: no such file")


class Script(NamedTuple):
    """A script that is to be written: its place, its template, its options of sbatch."""

    path: Path
    template: str
    options: Mapping[str, str]

    def text(self, asked: Asked, words: Sequence[str]) -> str:
        """Give what is to be in it."""
        told = f"{WRITTEN}{datetime.now():%Y-%m-%d %H:%M}; change what you like, then: sbatch {self.path}"
        return scripts.filled(scripts.read(self.template), self.options, asked.variables(), words, told)


def written(wanted: Sequence[Script], asked: Asked, words: Sequence[str]) -> list[Path]:
    """Write all scripts, or none; give their paths.

    Raises
    ------
    ValueError
        Where one is there that is another, by the user's hand or for another order, and --overwrite is not given.
    """
    texts = [script.text(asked, words) for script in wanted]
    for script, text in zip(wanted, texts, strict=True):
        if not asked.overwrite and script.path.exists() and lasting(script.path.read_text()) != lasting(text):
            raise ValueError(
                f"{script.path} is there and differs from what would be written: `sbatch {script.path}` submits it "
                "as it is, --overwrite writes it anew"
            )
    for script, text in zip(wanted, texts, strict=True):
        script.path.parent.mkdir(parents=True, exist_ok=True)
        script.path.write_text(text)
        script.path.chmod(0o755)
    return [script.path for script in wanted]


def lasting(text: str) -> list[str]:
    """Give the lines of a script but for those that say when it was written and submitted."""
    return [line for line in text.splitlines() if not line.startswith((f"# {WRITTEN}", SUBMITTED))]


def send(script: Path, extra: Sequence[str], asked: Asked) -> str:
    """Call sbatch and say what came of it; give the job's number, "" for a dry run."""
    command = ["sbatch", "--parsable", *extra, str(script)]
    if asked.dry_run:
        print(f"written: {script}   to submit it: {shlex.join(command)}")
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise OSError(f"there is no sbatch here; {script} is written: submit it where Slurm is") from None
    if done.returncode:
        raise OSError(f"sbatch refuses {script}: {' '.join(done.stderr.split())}")
    number = done.stdout.strip().partition(";")[0]
    with script.open("a") as file:
        file.write(f"{SUBMITTED}{number} on {datetime.now():%Y-%m-%d %H:%M} in {os.getcwd()}\n")
    print(f"job {number}: {script}")
    return number
