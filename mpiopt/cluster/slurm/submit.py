"""The command `submit`: write a batch script from a template, for the user to read and keep, and submit it."""

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

from mpiopt.cluster.slurm import sbatch_flags, scripts
from mpiopt.cluster.sweep import Sweep, sweep_of
from mpiopt.comm.base import Comm
from mpiopt.comm.collective_io import print_on_root
from mpiopt.core.config import job_file
from mpiopt.core.config.flags import parse, typed
from mpiopt.core.config.job import Job, at_least
from mpiopt.core.files import write_whole
from mpiopt.data.formats.synthetic import PREFIX
from mpiopt.data.tables.files import is_several, table_of
from mpiopt.resilience.signals import StopSignal
from mpiopt.training.job_args import job_of

USAGE = (
    "submit JOB.toml|DATA --nodes N --tasks-per-node N --time 4:00:00 [--dry-run] [--overwrite] [flags of train] "
    "[-- flags of sbatch]"
)
NOTICE = 300  # seconds before the time limit at which the ranks are signalled; a quarter of a shorter job's time
SIGNALS = ("USR1", "USR2")  # after SIGTERM a job would not be requeued: it comes from scancel, too
BINDINGS = ("none", "cores", "nomultithread")
TEMPLATES = {"srun": "train", "mpirun": "train-mpirun", "launch": "launch"}  # of a training run, by launcher
MAIL = "END,FAIL,REQUEUE"  # events of which --mail tells
WRITTEN = "Written by mpiopt submit on "
KILL_INVALID = "--kill-on-invalid-dep=yes"  # a job whose turn will not come leaves the queue
SUBMITTED = "# submitted as job "  # begins the line that is added to the script; `mpiopt status` reads it


@dataclass(frozen=True)
class SubmitOptions:
    """The flags of `submit`, each a field; what they request of Slurm."""

    nodes: int = 1
    tasks_per_node: int = 1
    time: str = "1:00:00"
    partition: str = ""
    account: str = ""
    cpus_per_task: int = 0  # 0: the default of the site
    mem: str = ""  # of a node, as 64G
    constraint: str = ""
    gres: str = ""  # none, or as gpu:1
    mail: str = ""  # an address
    signal: str = ""  # USR1 or USR2, with @SECONDS before the time limit
    modules: str = ""  # names for `module load`, with commas
    bind: str = "none"  # of ranks to processors
    name: str = ""  # of the job; default: that of the result
    launcher: str = "srun"  # or mpirun, or launch
    spares: int = 0  # of the ranks, with --launcher launch
    mpi: str = "pmix"  # of srun: pmix for Open MPI, pmi2 for MPICH
    template: str = ""  # a file of the user's own
    at_once: int = 0  # members of a sweep that may run at the same time; 0: any number
    max_restarts: int = 20
    chain: int = 0  # jobs, each of which waits for the one before, in place of requeues
    elastic: bool = False
    dry_run: bool = False
    overwrite: bool = False  # an existing script that differs

    def __post_init__(self) -> None:
        scripts.seconds(self.time)
        for name in ("name", "account", "partition", "mem", "constraint", "gres", "mail", "modules"):
            scripts.refuse_control_characters(f"--{name}", getattr(self, name))
        least = {
            "nodes": 1,
            "tasks_per_node": 1,
            "cpus_per_task": 0,
            "at_once": 0,
            "max_restarts": 0,
            "chain": 0,
            "spares": 0,
        }
        for name, number in least.items():
            at_least(f"--{name.replace('_', '-')}", getattr(self, name), number)
        if self.bind not in BINDINGS:
            raise ValueError(f"--bind must be one of {', '.join(BINDINGS)}, not {self.bind!r}")
        self.notice()
        if self.launcher not in TEMPLATES:
            raise ValueError(f"--launcher must be srun, mpirun or launch, not {self.launcher!r}")
        if self.spares and self.launcher != "launch":
            raise ValueError("--spares needs --launcher launch")
        if self.elastic and self.launcher != "srun":
            raise ValueError(f"--elastic needs srun; leave out --launcher {self.launcher}")

    def sbatch_options(self) -> dict[str, str]:
        """Return the options of sbatch that do not depend on the job."""
        notice = self.notice()
        given = {
            "partition": self.partition,
            "account": self.account,
            "cpus-per-task": str(self.cpus_per_task or ""),
            "mem": self.mem,
            "constraint": self.constraint,
            "gres": self.gres,
            "mail-user": self.mail,
            "mail-type": MAIL if self.mail else "",
            "hint": self.bind if self.bind == "nomultithread" else "",
        }
        return {
            "nodes": str(self.nodes),
            "ntasks-per-node": str(self.tasks_per_node),
            "time": self.time,
            "signal": notice if self.launcher == "srun" else f"B:{notice}",
            "chdir": os.getcwd(),
            **{name: value for name, value in given.items() if value},
            **({"no-requeue": ""} if self.chain else {}),
        }

    def notice(self) -> str:
        """Return the signal near the time limit and its seconds, as sbatch takes them.

        Raises
        ------
        ValueError
            If the flag --signal is neither empty nor like USR1@300.
        """
        name, at, before = self.signal.partition("@")
        if self.signal and (name not in SIGNALS or (at and not before.isdigit())):
            raise ValueError(f"--signal must be USR1 or USR2, with seconds as in USR1@300; not {self.signal!r}")
        return f"{name or SIGNALS[0]}@{before or min(NOTICE, scripts.seconds(self.time) // 4)}"

    def variables(self) -> dict[str, str]:
        """Return the shell variables that the templates read."""
        launcher = Path(sys.executable).with_name("mpirun")
        common = {"PYTHON": sys.executable, "MAX_RESTARTS": str(self.max_restarts)}
        if self.chain:
            common["REQUEUE"] = "no"
        if self.launcher == "srun":
            return {**common, "MPI_TYPE": self.mpi, **({"BIND": "--cpu-bind=cores"} if self.bind == "cores" else {})}
        if self.launcher == "launch":
            return {**common, "SPARES": str(self.spares)}
        where = "core" if self.bind == "cores" else "none"
        return {**common, "MPIRUN": f"{launcher if launcher.exists() else 'mpirun'} --bind-to {where}"}

    def module_names(self) -> list[str]:
        """Return the names of --modules."""
        return [name for name in self.modules.replace(",", " ").split() if name]


class Script(NamedTuple):
    """A script to write: its path, its template, its options of sbatch."""

    path: Path
    template: str
    options: Mapping[str, str]
    variables: Mapping[str, str] = {}  # shell variables of this script

    def text(self, options: SubmitOptions, words: Sequence[str]) -> str:
        """Return the content of the script."""
        origin = f"{WRITTEN}{datetime.now():%Y-%m-%d %H:%M}; edit it as you like, then: sbatch {self.path}"
        variables = {**options.variables(), **self.variables}
        template = scripts.read(self.template)
        return scripts.filled(template, self.options, variables, words, origin, options.module_names())


def submit(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Write and submit the script of a job; of a [sweep], the scripts of a job array and of its table."""
    own_flags = {f.name.replace("_", "-"): f.default is not False for f in fields(SubmitOptions)}
    at = list(words).index("--") if "--" in words else len(words)
    words, passed_on = words[:at], words[at + 1 :]
    positional, settings = parse(words, {**job_file.flags(), **own_flags})
    if not positional:
        raise ValueError(f"submit needs a job file or a data file: mpiopt {USAGE}")
    own = [(key.replace("-", "_"), text) for key, text in settings if key in own_flags]
    options = SubmitOptions(**typed(SubmitOptions, own))
    train_words = [*positional]
    for key, text in settings:
        if key not in own_flags:
            train_words += [f"--{key}", text] if job_file.flags()[key] else [f"--{key}"]
    sweep = sweep_of(train_words)
    in_script, on_line = sbatch_flags.read(passed_on)
    queue = Queue(on_line, options.dry_run, comm)
    if sweep:
        submit_sweep(options, train_words, sweep, queue, in_script)
    else:
        submit_job(options, train_words, queue, in_script)
    return 0


@dataclass(frozen=True)
class Queue:
    """Slurm's queue, entered by sbatch."""

    flags: Sequence[str]  # of sbatch, from the user, that cannot stand in a script
    dry_run: bool
    comm: Comm

    def submit(self, script: Path, flags: Sequence[str], noted: bool = True) -> str:
        """Submit a script, and note the job's number in it; return the number, "" for a dry run.

        Raises
        ------
        OSError
            If sbatch does not exist here or refuses the script.
        """
        command = ["sbatch", "--parsable", *flags, str(script)]
        if self.dry_run:
            print_on_root(self.comm, f"written: {script}   to submit it: {shlex.join(command)}")
            return ""
        try:
            done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        except FileNotFoundError:
            raise OSError(
                f"there is no sbatch here; {script} is written: submit it where Slurm is installed"
            ) from None
        if done.returncode:
            raise OSError(f"sbatch refuses {script}: {' '.join(done.stderr.split())}")
        number = done.stdout.strip().partition(";")[0]
        if not (number.isascii() and number.isdigit()):  # a flag that asks sbatch itself, as --help
            print_on_root(self.comm, done.stdout.rstrip())
            return ""
        if noted:
            with script.open("a") as file:
                file.write(f"{SUBMITTED}{number} on {datetime.now():%Y-%m-%d %H:%M} in {os.getcwd()}\n")
        print_on_root(self.comm, f"job {number}: {script}")
        return number


def submit_job(options: SubmitOptions, words: list[str], queue: Queue, more: Mapping[str, str]) -> None:
    """Submit one training run; `more` are options of sbatch from the user."""
    job = job_of(words)
    refuse_missing_data(job)
    out = Path(job.out)
    scripts.refuse_control_characters("--out", job.out)
    template = "elastic" if options.elastic else TEMPLATES[options.launcher]
    of_sbatch = {
        "job-name": options.name or out.stem,
        **options.sbatch_options(),
        "output": scripts.output_pattern(str(out.with_suffix(".out"))),
        **more,
    }
    words = words if {"--out", "-o"} & {*words} else [*words, "--out", job.out]
    variables = {"ENVIRONMENT": scripts.in_shell(out.with_suffix(".env"))}
    if options.elastic or options.launcher == "launch":
        variables["RESIZE"] = str(out.with_suffix(".ranks"))
    script = Script(out.with_suffix(".sbatch"), options.template or template, of_sbatch, variables)
    write([script], options, words)
    number = queue.submit(script.path, queue.flags)
    for _ in range(1, options.chain):  # starts only if the one before has not reached its end
        after = [f"--dependency=afternotok:{number or 'JOB'}", KILL_INVALID]
        number = queue.submit(script.path, [*queue.flags, *after], noted=False)


def submit_sweep(
    options: SubmitOptions, words: list[str], sweep: Sweep, queue: Queue, more: Mapping[str, str]
) -> None:
    """Submit an array with a task for each member, and a job after it that makes the table."""
    if options.chain:
        raise ValueError("a sweep cannot be a chain of jobs; submit it again to go on: certified members end at once")
    if (options.launcher != "srun" or options.elastic) and not options.template:
        raise ValueError("a sweep needs srun and cannot be elastic; give --template for another script")
    for member in sweep.members:
        refuse_missing_data(member.job)
    scripts.refuse_control_characters("the folder of the sweep", str(sweep.folder))
    folder, of_sbatch = sweep.folder, options.sbatch_options()
    name = options.name or folder.name
    array = f"0-{len(sweep.members) - 1}" + (f"%{options.at_once}" if options.at_once else "")
    tasks = {
        "job-name": name,
        **of_sbatch,
        "array": array,
        "output": f"{scripts.output_pattern(str(folder))}/task-%a.out",
        **more,
    }
    table = {"job-name": f"{name}-table", "time": "10", "output": scripts.output_pattern(str(folder / "collect.out"))}
    table |= {key: value for key, value in tasks.items() if key in sbatch_flags.OF_EVERY_JOB}
    variables = {"ENVIRONMENT": f"{scripts.in_shell(folder)}/task-$SLURM_ARRAY_TASK_ID.env"}
    array_script = Script(folder / "sweep.sbatch", options.template or "sweep", tasks, variables)
    table_script = Script(folder / "collect.sbatch", "collect", table)
    write([array_script, table_script], options, words)
    number = queue.submit(array_script.path, queue.flags)
    queue.submit(table_script.path, [f"--dependency=afterany:{number or 'JOB'}", KILL_INVALID])


def refuse_missing_data(job: Job) -> None:
    """Raise ValueError for a data file that does not exist, before the job waits in a queue."""
    for path in filter(None, (job.path, job.data.test)):
        if is_several(path):
            table_of(path)
        elif not path.startswith(PREFIX) and not Path(path).exists():
            raise ValueError(f"{path}: no such file")


def write(new: Sequence[Script], options: SubmitOptions, words: Sequence[str]) -> None:
    """Write all scripts, or none.

    Raises
    ------
    ValueError
        If a script exists that differs, by the user's edits or other flags, and --overwrite is not given.
    """
    texts = [script.text(options, words) for script in new]
    for script, text in zip(new, texts, strict=True):
        if not options.overwrite and script.path.exists() and undated(script.path.read_text()) != undated(text):
            raise ValueError(
                f"{script.path} exists and differs from what would be written: `sbatch {script.path}` submits it "
                "as it is, --overwrite replaces it"
            )
    for script, text in zip(new, texts, strict=True):
        script.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(script.path, text.encode())
        script.path.chmod(0o755)


def undated(text: str) -> list[str]:
    """Return the lines of a script without those that say when it was written and submitted."""
    return [line for line in text.splitlines() if not line.startswith((f"# {WRITTEN}", SUBMITTED))]
