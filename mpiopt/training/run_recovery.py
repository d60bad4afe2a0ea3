"""What stays when a run is broken off and begun again: the vault, the recovery that fills it, and what is said."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

import numpy as np

from mpiopt.comm.base import Assignment, Comm
from mpiopt.comm.membership import RollBack
from mpiopt.compress.channel import Channel
from mpiopt.core.history import ALL, Event, events_to_text
from mpiopt.data.shard import Shard
from mpiopt.resilience.consistency import compare
from mpiopt.resilience.recovery.base import Recovery
from mpiopt.resilience.replicas import ReplicaStore, refill, shard_place, take_inventory
from mpiopt.training.loop import LoadedState, Meta, RunPlan, RunState, Store


@dataclass(frozen=True)
class Restored:
    """What came back from memory besides the state."""

    k: int
    meta: Meta


class Checkpointing(Store, Protocol):
    """A store that knows the number of the first checkpoint that it has begun, 0 for none."""

    first: int

    def give_up(self) -> None:
        """Let go of what is under way."""


class RecoveryContext:
    """A store that loads from the vaults of the ranks that are left, once, and saves to the disk.

    Where no vault has anything it loads from the disk what this run, or the one that it goes on from, has saved.
    """

    def __init__(self, vault: ReplicaStore, recovery: Recovery, disk: Store, comm: Comm, resume: bool) -> None:
        self._vault, self._recovery, self._disk, self._comm, self._resume = vault, recovery, disk, comm, resume

    def save(self, k: int, state: object, shard: Shard, meta: Meta) -> None:
        """Save to the disk."""
        self._disk.save(k, state, shard, meta)

    def load(self, blank_state: object, shard: Shard, job: str) -> LoadedState | None:
        """Fill the state from the vaults; collective."""
        pieces = self._vault.pieces()
        choice = self._recovery.choose(take_inventory(self._vault, pieces, self._comm))
        if choice is not None:
            return Restored(
                *refill(blank_state, shard_place(shard, self._comm), self._vault, choice, pieces, self._comm)
            )
        return self._disk.load(blank_state, shard, job) if self._resume else None


class RunRecovery:
    """Protects a run, and lets the next one go on from what was kept; one for each rank of a job."""

    def __init__(self) -> None:
        self.vault = ReplicaStore()
        self.recovery: Recovery | None = None
        self.saved = 0  # number of this run's first checkpoint; 0: none yet
        self.disk: Checkpointing | None = None
        self.say: Callable[[str], None] = lambda line: None
        self._began = self._broken = time.monotonic()
        self._reached = [0.0, 0.0]  # round and epochs
        self._lost: tuple[int, ...] = ()  # before this life
        self._going = False  # whether the run of this life has begun

    def begin(self, post: Assignment, recovery: Recovery, say: Callable[[str], None]) -> None:
        """Begin a life of the job; say who was lost since the last one; collective."""
        self.recovery, self.say = recovery, say
        first = max(self.saved, self.disk.first if self.disk else 0)
        if self.disk is not None:
            self.disk.give_up()
        if post.comm is not None:  # who has waited until now knows of no life before
            mine = np.array([first, self.vault.life, *self._reached])
            first, life, *self._reached = post.comm.max(mine).tolist()
            self.saved, self.vault.life = int(first), int(life)
        if self.vault.life:
            self.vault.seconds = time.monotonic() - self._began
            self._broken = time.monotonic()
            say(self._told(post))
        self._going = False
        self.vault.begin()

    def _told(self, post: Assignment) -> str:
        size = post.comm.size if post.comm else 0
        names = ", ".join(map(str, post.lost)) or "none"
        at = datetime.now().strftime("%H:%M:%S.%f")[:-3]
        self._lost = post.lost
        return f"{at} lost ranks: {names}, in round {self._reached[0]:.0f}; {size} are left; recovery {self._name}"

    @property
    def _name(self) -> str:
        return self.recovery.name if self.recovery else "none"

    def plan(self, plan: RunPlan, disk: Checkpointing, comm: Comm) -> RunPlan:
        """Give the plan of this life: it goes on from what was kept, where this is not the first."""
        plan, self.disk = replace(plan, guard=self), disk
        resume = plan.resume or self.saved > 0
        if self.vault.life == 1 or self.recovery is None:
            return replace(plan, resume=resume)
        if not self.recovery.in_memory:
            return replace(plan, resume=resume)
        return replace(plan, store=RecoveryContext(self.vault, self.recovery, disk, comm, resume), resume=True)

    def protect(self, now: RunState, shard: Shard, channel: Channel) -> None:
        """Compare what must be equal, and keep what a loss would take; collective, at a round's end."""
        vault, recovery = self.vault, self.recovery
        if recovery is None:
            return
        if recovery.digest and now.round and now.round % recovery.digest == 0:
            self.verify(now, channel)
        if not self._going:
            self._under_way(now)
        self._reached = [float(now.round), now.epochs]
        if not (recovery.in_memory and channel.comm.tolerant):
            return
        if vault.live is None or vault.live[2] != vault.life:
            vault.live = now.state, shard_place(shard, channel.comm), vault.life
        if recovery.due(vault, now.round):
            with vault.copying(now.round):
                moment = vault.moment(now.round, now.epochs, now.rows, now.state, events_to_text(now.events))
                recovery.protect(vault, moment, channel)

    def _under_way(self, now: RunState) -> None:
        """Say from where this life goes on."""
        self._going = True
        if self.vault.life == 1:
            self._began = time.monotonic()
            return
        rounds, epochs = self._reached[0] - now.round, self._reached[1] - now.epochs
        seconds = time.monotonic() - self._broken
        at = max(now.rows[-1].seconds, now.before[0])
        for rank in self._lost:
            now.events.append(Event(at, int(self._reached[0]), "failed", rank, "lost"))
        told = f"by {self._name}: {rounds:.0f} rounds back, {seconds:.3f} s"
        now.events.append(Event(at, now.round, "recovered", ALL, told))
        self.say(
            f"going on from round {now.round}, {rounds:.0f} rounds and {epochs:.3g} epochs back; {seconds:.3f} s"
        )

    def verify(self, now: RunState, channel: Channel) -> None:
        """Compare the replicated fields of all ranks; set right who deviates, or roll back; collective."""
        try:
            deviating = compare(now.state, channel.comm)
        except RollBack as told:
            self.vault.distrust()
            self.say(f"round {now.round}: {told}; rolling back to the last checkpoint")
            raise
        if deviating:
            names = ", ".join(map(str, deviating))
            self.say(f"round {now.round}: replicated state of ranks {names} had changed by itself; set right")
