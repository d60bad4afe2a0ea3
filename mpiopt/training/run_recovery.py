"""What outlives a loss of ranks: the copies in memory, the strategy that fills them, and the lines that report it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import numpy as np

from mpiopt.comm.base import Assignment, Comm
from mpiopt.comm.collective_io import allgather_json
from mpiopt.comm.membership import RollBack
from mpiopt.compress.channel import Channel
from mpiopt.core.history import ALL, Event, events_to_text
from mpiopt.data.shard import Shard
from mpiopt.resilience.checkpoint.base import BlankState, LoadedState, Meta
from mpiopt.resilience.checkpoint.store import Checkpoints
from mpiopt.resilience.consistency import repair
from mpiopt.resilience.recovery.base import Recovery
from mpiopt.resilience.replicas import LiveState, ReplicaStore, restore, shard_place, share_inventories
from mpiopt.results.provenance import new_run_id
from mpiopt.training.run_state import RunPlan, RunState, learned

NO_ATTEMPT = 0  # attempts are counted from 1


class ReplicaFirstStore:
    """A store that loads from the copies in memory of the ranks that are left, and saves to the disk.

    Without copies, or where it is of a later round, it loads the checkpoint of this run, or of the run from which
    this one resumed.
    """

    def __init__(
        self, replicas: ReplicaStore, recovery: Recovery, disk: Checkpoints, comm: Comm, resume: bool
    ) -> None:
        self._replicas, self._recovery, self._disk, self._comm = replicas, recovery, disk, comm
        self._resume = resume

    def save(self, k: int, state: object, shard: Shard, meta: Meta) -> None:
        """Save to the disk."""
        self._disk.save(k, state, shard, meta)

    def check(self) -> None:
        """Raise OSError on all ranks if another run has taken over the folder; collective."""
        self._disk.check()

    def load(self, blank: BlankState, shard: Shard, job: str) -> LoadedState | None:
        """Load the state from the copies in memory, or from the disk; collective."""
        mine = self._replicas.replicas()
        plan = self._recovery.choose(share_inventories(self._replicas, mine, self._comm))
        if plan is not None:
            if self._resume and self._disk.newest_round() > plan.k:
                loaded = self._from_disk(blank, shard, job)
                if loaded is not None and loaded.k > plan.k:
                    return loaded
            return restore(blank, shard_place(shard, self._comm), self._replicas, plan, mine, self._comm)
        return self._disk.load(blank, shard, job) if self._resume else None

    def _from_disk(self, blank: BlankState, shard: Shard, job: str) -> LoadedState | None:
        try:
            return self._disk.load(blank, shard, job)
        except ValueError:  # on all ranks: every checkpoint is damaged, and there are the copies in memory
            return None


class RunRecovery:
    """Copies a run's state between rounds, and lets the next attempt go on from the copies; one for each rank."""

    def __init__(self) -> None:
        self.replicas = ReplicaStore()
        self.recovery: Recovery | None = None
        self.saved = 0  # number of this run's first checkpoint; 0: none yet
        self.disk: Checkpoints | None = None
        self.say: Callable[[str], None] = lambda line: None
        self._began = self._broken_off = time.monotonic()
        self._round, self._epochs = 0.0, 0.0  # that the run has reached
        self._lost: tuple[int, ...] = ()  # ranks lost in the attempt before
        self._running = False  # whether the run of this attempt has begun
        self._run_id = ""  # a spare has none until it takes part

    def begin(self, assignment: Assignment, recovery: Recovery, say: Callable[[str], None]) -> None:
        """Begin the next attempt, and say which ranks were lost in the one before; collective."""
        self.recovery, self.say = recovery, say
        first = max(self.saved, self.disk.first if self.disk else 0)
        if self.disk is not None:
            self.disk.give_up()
        if assignment.comm is not None:  # a rank that was a spare until now took part in no earlier attempt
            mine = np.array([first, self.replicas.attempt, self._round, self._epochs])
            first, attempt, self._round, self._epochs = assignment.comm.max(mine).tolist()
            self.saved, self.replicas.attempt = int(first), int(attempt)
        if self.replicas.attempt:
            self.replicas.seconds = time.monotonic() - self._began
            self._broken_off = time.monotonic()
            self._lost = assignment.lost
            say(self._loss(assignment))
        self._running = False
        self.replicas.begin()

    def _loss(self, assignment: Assignment) -> str:
        size = assignment.comm.size if assignment.comm else 0
        names = ", ".join(map(str, assignment.lost)) or "none"
        at = datetime.now().strftime("%H:%M:%S.%f")[:-3]
        return f"{at} lost ranks: {names}, in round {self._round:.0f}; {size} are left; recovery {self._name}"

    @property
    def _name(self) -> str:
        return self.recovery.name if self.recovery else "none"

    @property
    def first_attempt(self) -> bool:
        """Whether no rank has been lost so far."""
        return self.replicas.attempt <= 1

    def plan(self, plan: RunPlan, disk: Checkpoints, comm: Comm) -> RunPlan:
        """Return the plan of this attempt: from the second one on it resumes from what has been kept."""
        plan, self.disk = replace(plan, guard=self), disk
        resume = plan.resume or self.saved > 0
        if self.first_attempt or self.recovery is None or not self.recovery.in_memory:
            return replace(plan, resume=resume)
        return replace(plan, store=ReplicaFirstStore(self.replicas, self.recovery, disk, comm, resume), resume=True)

    def agree_on_id(self, comm: Comm) -> str:
        """Return the run's id: a new one in the first attempt, later the one that the ranks had; collective."""
        self._run_id = next(filter(None, allgather_json(comm, self._run_id)), "") or new_run_id(comm)
        return self._run_id

    def protect(self, now: RunState, shard: Shard, channel: Channel) -> None:
        """Check replicated fields and copy what a loss would take, where due; collective, at the end of a round."""
        store, recovery = self.replicas, self.recovery
        if recovery is None:
            return
        if recovery.digest and now.round and now.round % recovery.digest == 0:
            self.verify(now, channel)
        if not self._running:
            self._start_running(now)
        self._round, self._epochs = float(now.round), now.epochs
        if not (recovery.in_memory and channel.comm.tolerant):
            return
        fresh = LiveState(now.state, shard_place(shard, channel.comm), store.attempt)
        other = store.live is not None and store.live.state is not now.state
        if store.live is None or other or store.live.attempt != store.attempt:
            # The state of another algorithm fits no older snapshot: until there is a new one, it is of no attempt.
            store.live = fresh._replace(attempt=NO_ATTEMPT) if other else fresh
        if other or recovery.due(store, now.round):
            with store.copying(now.round):
                snapshot = store.snapshot(
                    now.round,
                    now.epochs,
                    now.rows,
                    now.state,
                    events_to_text(now.events),
                    learned(now),
                )
                recovery.protect(store, snapshot, channel)
        if other:
            store.live = fresh

    def _start_running(self, now: RunState) -> None:
        """Record and say from where a second or later attempt goes on."""
        self._running, self._run_id = True, now.run_id
        if self.first_attempt:
            self._began = time.monotonic()
            return
        # A rank may be lost before the first round of a start that goes on from a checkpoint: that costs no round.
        rounds, epochs = max(0.0, self._round - now.round), max(0.0, self._epochs - now.epochs)
        seconds = time.monotonic() - self._broken_off
        at = max(now.last.seconds, now.spent_before.seconds)
        for rank in self._lost:
            now.events.append(Event(at, int(self._round), "failed", rank, "lost"))
        text = f"by {self._name}: {rounds:.0f} rounds back, {seconds:.3f} s"
        now.events.append(Event(at, now.round, "recovered", ALL, text))
        self.say(
            f"going on from round {now.round}, {rounds:.0f} rounds and {epochs:.3g} epochs back; {seconds:.3f} s"
        )

    def verify(self, now: RunState, channel: Channel) -> None:
        """Compare the replicated fields of all ranks; repair those that deviate, or roll back; collective."""
        try:
            deviating = repair(now.state, channel.comm)
        except RollBack as reason:
            self.replicas.clear()
            self.say(f"round {now.round}: {reason}; rolling back to the last checkpoint")
            raise
        if deviating:
            names = ", ".join(map(str, deviating))
            self.say(f"round {now.round}: replicated state of ranks {names} had changed by itself; set right")
