"""Jobs whose faults a seed draws: deaths, slow ranks, lost spares, failing calls, wrong bits, full disks, bad files.

    python -m tests.resilience.seeds --count 1000 --seed 0 --jobs 2 --log runs/seeds.log
    python -m tests.resilience.seeds --count 1000 --seed 0 --log runs/seeds.log --counts --page docs/trust.md

The ranks are threads that take turns (`turns`), and the program under test is all of `train`: a job is started
again until it ends, as `launch` and Slurm do. The last start has no faults. A model of the run (`journal`) looks on,
and the certified model is evaluated by other code. A seed that breaks a rule is the report: it makes the same run
again, and `--show` prints what happened in it.
"""

from __future__ import annotations

import contextlib
import errno
import io
import math
import os
import random
import shutil
import sys
import tempfile
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mpiopt.comm.membership import AGAIN
from mpiopt.comm.threads import single
from mpiopt.resilience.checkpoint import async_store, folder, store
from mpiopt.resilience.signals import StopSignal
from mpiopt.results.result_file import read_result
from mpiopt.training import train as train_module
from mpiopt.training.job_args import job_of
from mpiopt.training.run_recovery import RunRecovery
from tests.resilience import children
from tests.resilience.children import Harness
from tests.resilience.crew import live
from tests.resilience.journal import Journal
from tests.resilience.trials import main
from tests.resilience.turns import Process, Stuck, Threads, Turns

FAULTS = ("rule broken", "stuck", "wrong", "not certified", "unclear")
DATA, ROWS, RIDGE, TOL = "generate:n=60,d=3,condition=1e1,task=binary", 60, 0.01, 1e-5
SAGA = "preconditioner=none,local_steps=20"
ALGORITHMS = (f"saga[{SAGA}]", f"saga[{SAGA},exchange=async]", "lbfgs[sampled=false]", "newton")
RECOVERIES = ("stateless", "chain", "chain[every=3]", "checkpoint", "none")
FORMS = ("parallel", "sharded", "background")
DIFFER = "ranks disagree on the collective call"
STEPS = 600  # of a rank in a long run
WARM = 12  # jobs before the first that counts: all algorithms are compiled
LIVES = 6  # starts of a job at most, of which the last has no faults
OPERATIONS = ("open", "pwrite", "fsync", "rename", "replace", "unlink")
WRITES = {"open", "io.open", "pwrite", "fsync", "rename", "replace"}
REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EINTR)


class Plan:
    """What a seed draws for a job, and for each of its starts."""

    def __init__(self, seed):
        self.rng = rng = random.Random(f"plan {seed}")
        self.ranks, self.spares = rng.choice((1, 2, 2, 3, 3, 4)), rng.choice((0, 0, 1, 2))
        self.algorithm, self.recovery = rng.choice(ALGORITHMS), rng.choice(RECOVERIES)
        self.form = rng.choice(FORMS)
        self.every = f"{rng.choice((1, 3, 7))}rounds"
        self.faulty = rng.randint(1, LIVES - 1)  # starts with faults
        self.fails_at = 0  # the write of the first start that fails, alone; 0: none

    def words(self, out):
        return [
            *(DATA, "--algorithm", self.algorithm, "--l2", str(RIDGE), "--tol", str(TOL), "--quiet"),
            *("--recovery", self.recovery, "--spares", str(self.spares), "--checkpoint-form", self.form),
            *("--checkpoint-every", self.every, "--resume", "auto", "--out", str(out)),
        ]

    def draws_fault(self, life, share):
        """Return whether a start has a fault that has this share of the faulty starts."""
        return life < self.faulty and self.rng.random() < share

    def processes(self, life):
        """Return the processes of a start, some of them slow, some doomed."""
        rng, count = self.rng, self.ranks + self.spares
        made = [Process(f"{life}.{i}", rng.choice((1.0, 1.0, 1.0, 20.0))) for i in range(count)]
        if life >= self.faulty:
            return made
        if rng.random() < 0.2:  # the power, or mpirun
            at = early(rng)
            for process in made:
                process.dies_at = at
            return made
        for process in rng.sample(made, rng.randint(0, count)):
            process.dies_at = early(rng)
        if rng.random() < 0.2:
            rng.choice(made).fails_at = early(rng)
        return made


def early(rng):
    """Draw a step up to the longest that a run takes; each power of two is as likely, since most runs are short."""
    return round(2.0 ** rng.uniform(0.0, math.log2(STEPS)))


class Disk:
    """Calls of the operating system on the folder of a job: each is a step, and some fail."""

    def __init__(self, turns, place, plan, life, journal):
        rng = plan.rng
        self.turns, self.place, self.journal = turns, str(place), journal
        self.code, self.full = rng.choice(REFUSALS), (0.0, 0.0)
        self.writes, self.fails_at = 0, 0 if life else plan.fails_at
        if plan.draws_fault(life, 0.4):
            start = rng.uniform(0.0, 1.5)
            self.full = (start, start + rng.choice((0.02, 0.2, 30.0)))

    def patch(self, monkeypatch):
        for name in OPERATIONS:
            monkeypatch.setattr(os, name, self._call(name, getattr(os, name)))
        monkeypatch.setattr(io, "open", self._call("io.open", io.open))

    def _call(self, name, whole):
        def call(first, *rest, **named):
            task = self.turns.task
            path = path_of(first) if task is not None else ""
            if not path.startswith(self.place):
                return whole(first, *rest, **named)
            self.turns.step()
            writes = name in WRITES and not is_read(name, rest)
            self.writes += writes
            if writes and (self.full[0] <= self.turns.now < self.full[1] or self.writes == self.fails_at):
                self.journal.note("refused", name, Path(path).name)
                raise OSError(self.code, os.strerror(self.code), path)
            return whole(first, *rest, **named)

        return call


def path_of(first):
    return os.readlink(f"/proc/self/fd/{first}") if isinstance(first, int) else str(first)


def is_read(name, rest):
    if name == "io.open":
        return not rest or rest[0] in ("r", "rb")
    return name == "open" and (not rest or rest[0] == os.O_RDONLY)


def watch(monkeypatch, turns, journal, plan, life):
    """Let the journal see what the program does."""
    rng = plan.rng
    flip = (rng.randrange(20), rng.random()) if plan.draws_fault(life, 0.15) else None
    monkeypatch.setattr(async_store, "threading", Threads(turns))
    monkeypatch.setattr(folder, "threading", Threads(turns))
    protect, commit, begin = RunRecovery.protect, folder.CheckpointFolder.commit, store.Checkpoints.begin
    run, saves, rounds = train_module.run, {}, {}

    def running(plan, objective, algorithm, channel, *rest):
        shard = objective.shard
        journal.joined(turns.task.owner.name, channel.comm._world, shard.total, (shard.start + shard.order).tolist())
        return run(plan, objective, algorithm, channel, *rest)

    def protecting(self, now, shard, channel):
        nonlocal flip
        name = turns.task.owner.name
        journal.reached(name, now.round, zlib.crc32(np.ascontiguousarray(now.state.w).tobytes()))
        rounds[name] = now.round
        if flip is not None and now.round == flip[0]:
            raw, journal.wrong_bits = now.state.w.reshape(-1).view(np.uint8), True
            raw[int(flip[1] * raw.size)] ^= np.uint8(1 << rng.randrange(8))
            flip = None
            journal.note("flipped", name)
        return protect(self, now, shard, channel)

    def beginning(self, mine):
        number = begin(self, mine)
        saves[number] = rounds[turns.task.owner.name]
        return number

    def committing(self, number):
        commit(self, number)
        journal.committed(turns.task.owner.name, number, saves[number])

    monkeypatch.setattr(train_module, "run", running)
    monkeypatch.setattr(RunRecovery, "protect", protecting)
    monkeypatch.setattr(store.Checkpoints, "begin", beginning)
    monkeypatch.setattr(folder.CheckpointFolder, "commit", committing)


def start(seed, plan, life, journal, out):
    """Start the job once; return how it ended: a code, or an error."""
    turns = Turns(f"{seed} {life}")
    job = job_of(plan.words(out))
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(turns, out.parent, plan, life, journal)
        watch(patch, turns, journal, plan, life)
        turns.patch(patch)
        disk.patch(patch)

        def rank(membership):
            return train_module.train_job(job, SimpleNamespace(membership=membership), StopSignal(lambda: turns.now))

        ends = live(turns, plan.processes(life), journal, rank)
    for name, end in ends.items():
        journal.ended(name, repr(end))
    return end_of(ends, journal)


def end_of(ends, journal):
    """Return the code of a start from the ends of its ranks; 2 for a refused write, None if no rank is left."""
    if not ends:
        return None
    errors = [end for end in ends.values() if isinstance(end, Exception)]
    for error in errors:
        # A rank whose model has a wrong bit may decide otherwise than the others: the job ends, and is started again.
        decided = journal.wrong_bits and str(error).startswith(DIFFER)
        if not (decided or isinstance(error, OSError)) or "\n" in str(error):
            journal.broken(f"{type(error).__name__}: {error}")
    codes = {2 if isinstance(end, Exception) else end for end in ends.values()}
    if len(codes) > 1:
        journal.broken(f"ranks end with codes {sorted(codes)}")
    return max(codes)


def damage(place, plan, journal):
    """Flip a bit of the newest checkpoint between two starts, in one of six cases where there is one before it."""
    files = sorted(place.glob("*.ckpt/??????.h5"))
    if len(files) < 2 or plan.rng.random() > 1 / 6:
        return
    raw = bytearray(files[-1].read_bytes())
    raw[plan.rng.randrange(len(raw))] ^= 1 << plan.rng.randrange(8)
    files[-1].write_bytes(raw)
    journal.damaged()
    journal.note("damaged", files[-1].name)


def trial(seed, show=False):
    """Run the job of a seed to its end; return how it ended in words, and its journal."""
    plan, journal = Plan(seed), Journal()
    place = Path(tempfile.mkdtemp(prefix="mpiopt-seeds-", dir=children.MEMORY))
    journal.note(*plan.words("run.h5")[1:], plan.ranks)
    try:
        ending = run_job(seed, plan, journal, place / "run.h5")
    except Stuck as stuck:
        journal.note("stuck", str(stuck))
        ending = "stuck"
    finally:
        shutil.rmtree(place)
    if journal.faults:
        ending = "rule broken"
    if show or ending in FAULTS:
        print(f"seed {seed}: {ending}", *journal.faults, *(journal.events if show else ()), sep="\n    ", flush=True)
    return ending, journal


def run_job(seed, plan, journal, out):
    for life in range(LIVES):
        code = start(seed, plan, life, journal, out)
        if code == 0:
            return ("right after losses" if journal.lost else "right") if is_right(out) else "wrong"
        if code not in (None, 2, AGAIN):
            return "unclear"
        damage(out.parent, plan, journal)
    return "not certified"


def is_right(out):
    """Return whether a result says that it is certified, and is near the optimum by another evaluation."""
    result = read_result(out)
    value = objective(result.coef[0])
    return bool(result.history["certificate"][-1] <= TOL and value - best() <= 1.01 * TOL * best() + 1e-15)


def objective(w, kept={}):  # noqa: B006  read once
    if not kept:
        from mpiopt.data.dataset import prepare
        from mpiopt.training.problem import target_of

        job = job_of([DATA, "--coordinates", "file"])
        shard = prepare(job.path, target_of(job.model), job.data, job.seed, single()).shard
        kept["x"], kept["y"] = np.array(shard.rows.values)[:, :3], np.where(shard.label > 0, 1.0, -1.0)
    margins = kept["y"] * (kept["x"] @ w)
    return float(np.logaddexp(0.0, -margins).mean() + RIDGE / 2.0 * w @ w)


def best(kept={}):  # noqa: B006  computed once
    """Return the optimum, by SciPy."""
    if not kept:
        from scipy.optimize import minimize

        kept["value"] = minimize(objective, np.zeros(3), method="BFGS", options={"gtol": 1e-10}).fun
    return kept["value"]


@contextlib.contextmanager
def compiled():
    """Compile what the jobs call, and compute the optimum, before the first of them."""
    best()
    for number in range(WARM):
        trial(number)
    yield


def trial_told(number):
    """Make a job; return how it ended, how many ranks it lost, and the rules that it broke."""
    ending, journal = trial(number)
    return ending, "; ".join([f"{journal.lost} ranks lost", *journal.faults])


HARNESS = Harness(
    trial_told,
    lambda number: Plan(number).recovery,
    FAULTS,
    lambda code: "ended",
    compiled,
)


if __name__ == "__main__":
    if "--show" in sys.argv:
        sys.exit(trial(int(sys.argv[sys.argv.index("--show") + 1]), show=True)[0] in FAULTS)
    sys.exit(main(HARNESS))
