"""The servers that keep weights in memory: with checkpoints in a store, or with a chain of replicas.

Two differences to the chain replication of van Renesse and Schneider (OSDI 2004) are the paper's: the head waits for
its successor only, and it replicates only every `every` updates. Each server exists in both consistencies.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, ClassVar

from mpiopt.core.config.job import at_least
from mpiopt.studies.parameter_server.networks.base import Array
from mpiopt.studies.parameter_server.runtime.actor import Actor, Operation, RankState, Send, receive
from mpiopt.studies.parameter_server.runtime.messages import ActorMessage, MessageKind
from mpiopt.studies.parameter_server.runtime.store import ANY_VERSION, Successor, successor
from mpiopt.studies.parameter_server.runtime.task import ServerTask
from mpiopt.studies.parameter_server.runtime.view import Role
from mpiopt.studies.parameter_server.servers.base import Server
from mpiopt.studies.parameter_server.servers.consistency import Consistency, asynchronous, synchronous


@dataclass(frozen=True)
class CheckpointServer(Server):
    """Save the weights every `every` updates; a new server loads the last checkpoint, or starts anew without one.

    `no_restore_while_kills_pending` repeats an error of the published code, in which a new server started anew while
    another kill was planned: the collapse in the paper's figure 5.
    """

    consistency: ClassVar[Consistency]
    every: int = 100
    no_restore_while_kills_pending: bool = False

    def __post_init__(self) -> None:
        at_least("every", self.every, 1)

    @property
    def stores(self) -> int:
        """One store, for the checkpoints."""
        return 1

    @property
    def period(self) -> int | None:
        """Updates between two checkpoints."""
        return self.every

    def serve(self, state: RankState, task: ServerTask) -> Actor:
        """Load the last checkpoint, then train and save."""
        version, w = yield from self.restored(state, task)
        yield from type(self).consistency(state, task, version, w, lambda t, w: self.saved(state, t, w))

    def restored(self, state: RankState, task: ServerTask) -> Generator[Operation, Any, tuple[int, Array]]:
        """Return the version and the weights to start from."""
        while (store := state.view.head(Role.STORE)) is not None:
            yield Send(store, ActorMessage(MessageKind.FETCH, ANY_VERSION))
            received = yield from receive(state, MessageKind.WEIGHTS)
            if received is not None:
                w = received.message.vector
                ignored = self.no_restore_while_kills_pending and state.view.pending > 0
                return (0, task.start()) if w is None or ignored else (received.message.number, w)
        return 0, task.start()

    def saved(self, state: RankState, version: int, w: Array) -> Actor:
        """Save the weights if a checkpoint is due."""
        store = state.view.head(Role.STORE)
        if store is not None and version > 0 and version % self.every == 0:
            yield Send(store, ActorMessage(MessageKind.SAVE, version, 0, w))


@dataclass(frozen=True)
class SyncCheckpoint(CheckpointServer):
    """All workers on the same weights, checkpoints every `every` updates (paper: configuration 1)."""

    name = "sync-checkpoint"
    consistency = synchronous


@dataclass(frozen=True)
class AsyncCheckpoint(CheckpointServer):
    """Each gradient applied as it arrives, checkpoints every `every` updates (paper: configuration 2)."""

    name = "async-checkpoint"
    consistency = asynchronous


@dataclass(frozen=True)
class ChainServer(Server):
    """Replicas of the weights in the memory of several servers; each is sent copies by the one before it."""

    consistency: ClassVar[Consistency]
    replicas: int = 3
    every: int = 100

    def __post_init__(self) -> None:
        at_least("replicas", self.replicas, 1)
        at_least("every", self.every, 1)

    @property
    def servers(self) -> int:
        """The head of the chain and its replicas."""
        return self.replicas

    @property
    def period(self) -> int | None:
        """Updates between two replications."""
        return self.every

    def serve(self, state: RankState, task: ServerTask) -> Actor:
        """Stand by until this rank is the head, then train from the copy."""
        replica = Replica(state, self.every, task.start())
        yield from replica.stand_by()
        yield from type(self).consistency(state, task, replica.version, replica.weights, replica.replicated)


@dataclass
class Replica:
    """The copy of the weights on one server of a chain."""

    state: RankState
    every: int  # updates between two replications
    weights: Array
    version: int = 0
    copied_to: Successor | None = None

    def stand_by(self) -> Actor:
        """Take copies from the predecessor and send them on; return when this rank is the head."""
        state = self.state
        while state.view.head(Role.SERVER) != state.rank:
            received = yield from receive(state, MessageKind.REPLICA)
            if received is not None and received.message.vector is not None:
                self.version, self.weights = received.message.number, received.message.vector
                state.note_memory(self.weights.nbytes)
                yield Send(received.source, ActorMessage(MessageKind.ACK, self.version))
                yield from self.send_copy()
            elif successor(state) != self.copied_to:  # the chain has a new tail
                yield from self.send_copy()

    def send_copy(self) -> Actor:
        """Send the copy to the successor."""
        self.copied_to = successor(self.state)
        if self.copied_to is not None:
            yield Send(self.copied_to.rank, ActorMessage(MessageKind.REPLICA, self.version, 0, self.weights))

    def replicated(self, version: int, w: Array) -> Actor:
        """Send a copy if one is due or the successor is new; wait until the successor has it or is dead."""
        self.version, self.weights = version, w
        if version % self.every and successor(self.state) == self.copied_to:
            return
        yield from self.send_copy()
        while self.copied_to is not None and successor(self.state) == self.copied_to:
            received = yield from receive(self.state, MessageKind.ACK)
            if received is not None and received == (self.copied_to.rank, ActorMessage(MessageKind.ACK, version)):
                return


@dataclass(frozen=True)
class SyncChain(ChainServer):
    """Chain replication, all workers on the same weights (paper: configuration 3)."""

    name = "sync-chain"
    consistency = synchronous


@dataclass(frozen=True)
class AsyncChain(ChainServer):
    """Chain replication, each gradient applied as it arrives (paper: configuration 4)."""

    name = "async-chain"
    consistency = asynchronous
