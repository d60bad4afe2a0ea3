"""What `mpiopt plan` is asked: the job as for `train`, the ranks, and what is known of the machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mpiopt.cluster.planning.link import ASSUMED
from mpiopt.core.config import job_file
from mpiopt.core.config.flags import parse
from mpiopt.core.config.job import Job
from mpiopt.core.config.job_file import value_of
from mpiopt.training import channel_setup
from mpiopt.training.job_args import job_from

NUMBERS = ("ranks", "ranks-per-node", "cores", "rows")
TEXTS = ("link", "disk", "failures", "simulate")
FLAGS = (*NUMBERS, *TEXTS, "columns", "density", "classes")
USAGE = """mpiopt plan DATA [job.toml] [flags of train] --ranks P [flags]
mpiopt plan --rows N --columns D [--density R] [--classes C] [flags of train] --ranks P [flags]

  --ranks P            ranks of the job
  --ranks-per-node R   that share a node's link (default 1)
  --cores C            of a node, where there are fewer than ranks
  --link RATE,LATENCY  of a node, as 100Gbit/s,2us; measured: between the ranks of
                       this very run (mpirun -n 2 … plan); default 10Gbit/s,5us
  --rows N             rows of the whole, of which DATA are a part or none
  --columns D  --density R  --classes C    of rows that are not there yet
  --disk RATE          of checkpoints, as 2GB/s; default: measured beside the result
  --failures RATE      of the whole job, as 1/day: the best checkpoint interval
  --save-seconds S     with --failures, and no data: for checkpoints that take so long
  --simulate RANKS     run all of so many ranks in this process, with simulated time"""


@dataclass(frozen=True)
class Question:
    """One plan."""

    job: Job
    ranks: int = 0
    link: str = ASSUMED
    ranks_per_node: int = 1
    cores: int | None = None  # of a node; None: as many as ranks
    rows: int | None = None
    disk: str = "measured"
    failures: str = ""
    simulate: str = ""


def ask(words: Sequence[str]) -> Question:
    """Read the words of a command line.

    Raises
    ------
    ValueError
        One line: an unknown flag, a number out of range, no data, no ranks.
    """
    positional, settings = parse(words, job_file.flags() | dict.fromkeys(FLAGS, True))
    ours = {flag: text for flag, text in settings if flag in FLAGS}
    theirs = [(flag, text) for flag, text in settings if flag not in FLAGS]
    numbers = {flag: _number(flag, ours[flag]) for flag in NUMBERS if flag in ours}
    if not positional:
        positional = [_recipe(ours)]
    elif "columns" in ours or "density" in ours or "classes" in ours:
        raise ValueError("--columns, --density and --classes are for rows that are not there yet; DATA has its own")
    job = job_from(positional, theirs)
    channel_setup.check_exchange_options(job)
    if "ranks" not in numbers and "simulate" not in ours:
        raise ValueError("plan needs --ranks P, the ranks of the job")
    texts = {key: ours.get(key, getattr(Question(job), key)) for key in TEXTS}
    return Question(
        job=job,
        ranks=numbers.get("ranks", 0),
        ranks_per_node=numbers.get("ranks-per-node", 1),
        cores=numbers.get("cores"),
        rows=numbers.get("rows"),
        link=texts["link"],
        disk=texts["disk"],
        failures=texts["failures"],
        simulate=texts["simulate"],
    )


def _number(flag: str, text: str) -> int:
    value = value_of(flag, text, int)
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"--{flag} must be a whole number of at least 1, not {text}")
    return value


def _recipe(ours: dict[str, str]) -> str:
    if "rows" not in ours or "columns" not in ours:
        raise ValueError("plan needs data: mpiopt plan DATA --ranks P, or --rows N --columns D for rows to come")
    task = f"multiclass,classes={ours['classes']}" if int(ours.get("classes", 2)) > 2 else "binary"
    density = f",density={ours['density']}" if "density" in ours else ""
    return f"generate:n={ours['rows']},d={ours['columns']}{density},task={task}"
