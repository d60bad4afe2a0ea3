"""The command line of `mpiopt plan`: the job as for `train`, the ranks, and figures of the machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from mpiopt.cluster.planning.link import ASSUMED
from mpiopt.core.config import job_file
from mpiopt.core.config.flags import parse, typed
from mpiopt.core.config.job import Job, at_least
from mpiopt.training import channel_setup
from mpiopt.training.job_args import job_from

OF_RECIPE = ("columns", "density", "classes")  # flags that, with rows, describe data that do not exist yet
USAGE = """  mpiopt plan DATA [job.toml] [flags of train] --ranks P [flags]
  mpiopt plan --rows N --columns D [--density R] [--classes C] [flags of train] --ranks P [flags]

  --ranks P            ranks of the job
  --ranks-per-node R   ranks that share the link of a node (default 1)
  --cores C            cores of a node, if there are fewer than ranks
  --link RATE,LATENCY  network of a node, as 100Gbit/s,2us (default 10Gbit/s,5us);
                       measured: between the ranks of this run (mpirun -n 2 … plan)
  --rows N             rows of the whole data set, if DATA is a part of it
  --columns D  --density R  --classes C    shape of data that do not exist yet
  --disk RATE          speed of the disk, as 2GB/s; default: measured
  --failures RATE      failures of the whole job, as 1/day: adds the best
                       checkpoint interval
  --save-seconds S     with --failures and without data: the best interval for
                       checkpoints that take S seconds
  --simulate RANKS     run each of these numbers of ranks to the end, in this
                       process with simulated time: 1,4,16"""


@dataclass(frozen=True)
class PlanRequest:
    """What to predict."""

    job: Job
    ranks: int = 0
    link: str = ASSUMED
    ranks_per_node: int = 1
    cores: int | None = None  # of a node; None: as many as ranks
    rows: int | None = None
    disk: str = "measured"
    failures: str = ""
    simulate: str = ""


def read(words: Sequence[str]) -> PlanRequest:
    """Read the command line.

    Raises
    ------
    ValueError
        In one line, for an unknown flag, a number out of range, or missing data or ranks.
    """
    own = [f.name.replace("_", "-") for f in fields(PlanRequest) if f.name != "job"]
    positional, settings = parse(words, job_file.flags() | dict.fromkeys([*own, *OF_RECIPE], True))
    ours = {flag: text for flag, text in settings if flag in own}
    recipe = {flag: text for flag, text in settings if flag in OF_RECIPE}
    theirs = [(flag, text) for flag, text in settings if flag not in ours and flag not in recipe]
    options = typed(PlanRequest, [(flag.replace("-", "_"), text) for flag, text in ours.items()])
    for name, value in options.items():
        if isinstance(value, int):
            at_least(f"--{name.replace('_', '-')}", value, 1)
    if not positional:
        positional = [_recipe(ours | recipe)]
    elif recipe:
        raise ValueError(
            "--columns, --density and --classes describe data that do not exist yet; leave out these flags, or DATA"
        )
    job = job_from(positional, theirs)
    channel_setup.check_exchange_options(job)
    if "ranks" not in ours and "simulate" not in ours:
        raise ValueError("plan needs the ranks of the job: --ranks P")
    return PlanRequest(job, **options)


def _recipe(ours: dict[str, str]) -> str:
    if "rows" not in ours or "columns" not in ours:
        raise ValueError(
            "plan needs data: mpiopt plan DATA --ranks P, or --rows N --columns D for data that do not exist yet"
        )
    task = f"multiclass,classes={ours['classes']}" if int(ours.get("classes", 2)) > 2 else "binary"
    density = f",density={ours['density']}" if "density" in ours else ""
    return f"generate:n={ours['rows']},d={ours['columns']}{density},task={task}"
