"""The registry: watches the ranks, assigns the roles, carries out the planned faults, and writes the log.

It plays the part of ZooKeeper and of the start script in the paper and, as there, it does not die. A rank without a
heartbeat for `detection` seconds is dead; `outage` seconds after its death a spare gets its role.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from mpiopt.studies.parameter_server.runtime import view
from mpiopt.studies.parameter_server.runtime.actor import Actor, KillRank, RankState, Receive, Send
from mpiopt.studies.parameter_server.runtime.faults import Fault
from mpiopt.studies.parameter_server.runtime.host import counts_of
from mpiopt.studies.parameter_server.runtime.log import ServerEvent, ServerLog, Update
from mpiopt.studies.parameter_server.runtime.messages import ActorMessage, MessageKind, Received
from mpiopt.studies.parameter_server.runtime.view import Role

CERTAIN_DEATH = 10.0  # detection times after which a silent rank is dead, also if MPI reports no failure
FINAL_WAIT = 1.0  # seconds that the registry waits for the last heartbeats


class Timing(NamedTuple):
    """Times of a run, in seconds."""

    seconds: float = 15.0  # length of the run
    detection: float = 1.0  # of silence
    outage: float = 2.0  # after an unplanned death

    @property
    def heartbeat(self) -> float:
        """Time between two heartbeats of a rank."""
        return self.detection / 5.0


class Vacancy(NamedTuple):
    """A role that a spare gets at a certain time."""

    role: Role
    until: float


class Registry:
    """The actor of rank 0."""

    def __init__(
        self,
        state: RankState,
        timing: Timing,
        faults: Sequence[Fault],
        log: ServerLog,
        failed: Collection[int] | None = None,
    ) -> None:
        self.state, self.timing, self.log = state, timing, log
        self.failed = failed  # ranks that MPI knows to be dead; None: MPI cannot report them
        self.faults = list(faults)
        self.last_heard = {rank: 0.0 for rank in range(len(state.view.places))}
        self.incarnations = dict.fromkeys(self.last_heard, 0)
        self.outage_ends: dict[int, float] = {}  # of planned deaths, by rank
        self.vacancies: list[Vacancy] = []

    def run(self) -> Actor:
        """Watch the ranks until the time is up, then stop them all."""
        yield from self.send_view()
        sent = self.state.view.number
        while self.state.clock() < self.timing.seconds:
            received = yield Receive(self.pause())
            while received is not None:  # read all messages before judging silence: this rank may have been suspended
                self.handle(received)
                received = yield Receive(0.0)
            yield from self.kill_due()
            self.detect_deaths()
            self.fill_vacancies()
            if self.state.view.number != sent:
                sent = self.state.view.number
                yield from self.send_view()
        yield from self.stop_all()

    def pause(self) -> float:
        """Return the seconds until something is due."""
        now = self.state.clock()
        times = [fault.seconds - now for fault in self.faults if fault.seconds is not None]
        return max(0.0, min([self.timing.heartbeat / 2.0, self.timing.seconds - now, *times]))

    def send_view(self) -> Actor:
        """Send the view to all ranks, also to those that seem dead: a rank that is alive must give up its role."""
        for rank in self.others():
            message = ActorMessage(MessageKind.VIEW, self.state.view.number, 0, view.encode(self.state.view))
            yield Send(rank, message)

    def others(self) -> Sequence[int]:
        """Return all ranks but this one."""
        return [rank for rank in self.last_heard if rank != self.state.rank]

    def handle(self, received: Received) -> None:
        """Record a heartbeat, an update, or a snapshot."""
        source, message = received
        now = self.state.clock()
        if message.kind is MessageKind.HEARTBEAT:
            self.handle_heartbeat(source, message)
        elif message.kind is MessageKind.APPLIED and message.vector is not None:
            step = float(message.vector[0])
            self.log.updates.append(Update(now, message.number, message.amount, step))
        elif message.kind is MessageKind.SNAPSHOT and message.vector is not None:
            self.log.add_snapshot(now, message.number, message.vector)

    def handle_heartbeat(self, rank: int, heartbeat: ActorMessage) -> None:
        """Record a heartbeat; a restarted rank has lost its role, and one that seemed dead becomes a spare."""
        role = self.state.view.places[rank].role
        if heartbeat.number != self.incarnations[rank] and role is not Role.GONE:
            self.mark_dead(rank)
            role = Role.GONE
        self.incarnations[rank], self.last_heard[rank] = heartbeat.number, self.state.clock()
        self.log.counts[rank, heartbeat.number] = counts_of(heartbeat)
        if role is Role.GONE:
            self.state.view = self.state.view.assign(rank, Role.SPARE)
        elif role is not Role.SPARE:
            self.log.roles[rank, heartbeat.number] = role

    def kill_due(self) -> Actor:
        """Carry out the faults that are due; a fault has no effect if no rank has the role."""
        for fault in filter(self.is_due, list(self.faults)):
            self.faults.remove(fault)
            self.state.view = self.state.view._replace(pending=len(self.faults))
            ranks = [rank for rank in self.state.view.with_role(fault.role) if rank not in self.outage_ends]
            if len(ranks) > fault.place:
                victim = ranks[fault.place]
                self.outage_ends[victim] = self.state.clock() + fault.outage
                self.add_event("killed", victim)
                yield KillRank(victim, fault.outage, self.pid(victim))

    def is_due(self, fault: Fault) -> bool:
        """Return whether it is time for a fault."""
        if fault.seconds is not None:
            return self.state.clock() >= fault.seconds
        return bool(self.log.updates) and self.log.updates[-1].version >= fault.update

    def pid(self, rank: int) -> int:
        """Return the process of a rank, or 0 if it is on another machine."""
        counts = self.log.counts.get((rank, self.incarnations[rank]))
        return counts.pid if counts is not None and counts.host == self.state.counts.host else 0

    def detect_deaths(self) -> None:
        """Take the roles of ranks that are silent for too long, unless MPI believes them alive."""
        for rank in self.others():
            silence = (self.state.clock() - self.last_heard[rank]) / self.timing.detection
            dead = silence > CERTAIN_DEATH or (silence > 1.0 and (self.failed is None or rank in self.failed))
            if dead and self.state.view.places[rank].role is not Role.GONE:
                self.mark_dead(rank)

    def mark_dead(self, rank: int) -> None:
        """Take a rank's role; after an unplanned death the outage counts from its last heartbeat."""
        role = self.state.view.places[rank].role
        self.add_event("lost", rank)
        self.state.view = self.state.view.assign(rank, Role.GONE)
        until = self.outage_ends.pop(rank, self.last_heard[rank] + self.timing.outage)
        if role is not Role.SPARE:
            self.vacancies.append(Vacancy(role, until))

    def fill_vacancies(self) -> None:
        """Assign spares to the roles whose outage is over."""
        for vacancy in sorted(self.vacancies, key=lambda v: v.until):
            spare = self.state.view.head(Role.SPARE)
            if spare is not None and self.state.clock() >= vacancy.until:
                self.vacancies.remove(vacancy)
                self.state.view = self.state.view.assign(spare, vacancy.role)
                self.add_event("started", spare)

    def add_event(self, what: str, rank: int) -> None:
        """Write an event to the log."""
        role = self.state.view.places[rank].role
        first = self.state.view.head(role) == rank
        self.log.events.append(ServerEvent(self.state.clock(), what, rank, role, first))

    def stop_all(self) -> Actor:
        """Stop all ranks and wait for their last heartbeats."""
        for rank in self.others():
            yield Send(rank, ActorMessage(MessageKind.STOP))
        living = {rank for rank in self.others() if self.state.view.places[rank].role is not Role.GONE}
        end = self.state.clock() + FINAL_WAIT
        while living and self.state.clock() < end:
            received = yield Receive(end - self.state.clock())
            if received is not None and received.message.kind is MessageKind.HEARTBEAT:
                self.handle_heartbeat(*received)
                living -= {received.source} if received.message.amount else set()
