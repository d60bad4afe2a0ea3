"""Chain replication of a server's weights: what both chain configurations share.

Two differences to van Renesse and Schneider (OSDI 2004), both the paper's: the head waits for the next of the chain
only, and replicates every so many updates.

Asynchronous training with chain replication.

Synchronous training with chain replication.
"""

from __future__ import annotations

from dataclasses import dataclass

from mpiopt.studies.parameter_server.networks.base import Array
from mpiopt.studies.parameter_server.runtime.actor import Actor, Me, Send, take
from mpiopt.studies.parameter_server.runtime.messages import Kind, Message
from mpiopt.studies.parameter_server.runtime.store import following
from mpiopt.studies.parameter_server.runtime.task import ServerTask
from mpiopt.studies.parameter_server.runtime.view import Role, RoleView
from mpiopt.studies.parameter_server.servers.base import Server, at_least_one
from mpiopt.studies.parameter_server.servers.rounds import asynchronous, synchronous


@dataclass(frozen=True)
class Chained(Server):
    """Replicas of the weights in the memory of several servers, each fed by the one before it."""

    replicas: int = 3
    every: int = 100

    def __post_init__(self) -> None:
        at_least_one("replicas", self.replicas)
        at_least_one("every", self.every)

    @property
    def servers(self) -> int:
        """The head and those that stand by."""
        return self.replicas

    @property
    def period(self) -> int | None:
        """The time between two replications."""
        return self.every


@dataclass
class Replica:
    """A server's copy of the weights, and whom it has fed."""

    me: Me
    every: int
    weights: Array
    version: int = 0
    fed: tuple[int, RoleView] | None = None

    def stand_by(self) -> Actor:
        """Take copies from the one before, hand them on; return when this is the head."""
        me = self.me
        while me.view.head(Role.SERVER) != me.rank:
            letter = yield from take(me, Kind.REPLICA)
            if letter is not None and letter[1].vector is not None:
                self.version, self.weights = letter[1].number, letter[1].vector
                me.holds(self.weights.nbytes)
                yield Send(letter[0], Message(Kind.ACK, self.version))
                yield from self.fed_on()
            elif following(me) != self.fed:  # a new tail
                yield from self.fed_on()

    def fed_on(self) -> Actor:
        """Send the copy to the next."""
        self.fed = following(self.me)
        if self.fed is not None:
            yield Send(self.fed[0], Message(Kind.REPLICA, self.version, 0, self.weights))

    def replicated(self, version: int, w: Array) -> Actor:
        """Feed the next where it is time to, or where it is new, and wait until it has the copy, or is gone."""
        self.version, self.weights = version, w
        if version % self.every and following(self.me) == self.fed:
            return
        yield from self.fed_on()
        while self.fed is not None and following(self.me) == self.fed:
            letter = yield from take(self.me, Kind.ACK)
            if letter is not None and letter == (self.fed[0], Message(Kind.ACK, version)):
                return


@dataclass(frozen=True)
class AsyncChain(Chained):
    """Chain replication, each gradient applied as it comes (paper: configuration 4)."""

    name = "async-chain"

    def serve(self, me: Me, task: ServerTask) -> Actor:
        """Stand by until this is the head, then train from the copy."""
        replica = Replica(me, self.every, task.start())
        yield from replica.stand_by()
        yield from asynchronous(me, task, replica.version, replica.weights, replica.replicated)


@dataclass(frozen=True)
class SyncChain(Chained):
    """Chain replication, all workers on the same weights (paper: configuration 3)."""

    name = "sync-chain"

    def serve(self, me: Me, task: ServerTask) -> Actor:
        """Stand by until this is the head, then train from the copy."""
        replica = Replica(me, self.every, task.start())
        yield from replica.stand_by()
        yield from synchronous(me, task, replica.version, replica.weights, replica.replicated)
