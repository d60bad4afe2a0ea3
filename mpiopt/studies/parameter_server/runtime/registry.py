"""The registry: knows who lives, gives out the roles, carries out the plan of deaths, writes down what happens.

It is what ZooKeeper and the starting script are in the paper and, as there, it does not die. A rank that has not been
heard of for `detection` seconds is dead; `outage` seconds after its death a spare takes its role.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from mpiopt.studies.parameter_server.runtime import view as views
from mpiopt.studies.parameter_server.runtime.actor import Actor, Me, Send, Strike, Wait
from mpiopt.studies.parameter_server.runtime.faults import Fault
from mpiopt.studies.parameter_server.runtime.host import counts_of
from mpiopt.studies.parameter_server.runtime.messages import Kind, Letter, Message
from mpiopt.studies.parameter_server.runtime.record import ServerEvent, ServerLog, Update
from mpiopt.studies.parameter_server.runtime.view import Role

SLOW = 10.0  # detection times after which a silent rank is dead whatever MPI says
LAST_WORDS = 1.0  # seconds that the registry waits for the last beats


class Rules(NamedTuple):
    """Times, in seconds."""

    seconds: float = 15.0  # of the run
    detection: float = 1.0  # of silence
    outage: float = 2.0  # of a death that was not planned

    @property
    def beat(self) -> float:
        """Time between two beats of a rank."""
        return self.detection / 5.0


class Vacancy(NamedTuple):
    """A role that nobody has."""

    role: Role
    until: float


class Registry:
    """The actor of rank 0, with what it knows."""

    def __init__(
        self,
        me: Me,
        rules: Rules,
        faults: Sequence[Fault],
        record: ServerLog,
        lost: Collection[int] | None = None,
    ) -> None:
        self.me, self.rules, self.record = me, rules, record
        self.lost = lost  # ranks that MPI knows to be dead; None: there is nobody to ask
        self.faults = list(faults)
        self.heard = {rank: 0.0 for rank in range(len(me.view.places))}
        self.lives = dict.fromkeys(self.heard, 0)
        self.ends: dict[int, float] = {}  # of planned outages, by rank
        self.vacancies: list[Vacancy] = []

    def run(self) -> Actor:
        """Watch until the time is up, then end all."""
        yield from self.tell()
        told = self.me.view.number
        while self.me.clock() < self.rules.seconds:
            letter = yield Wait(self.pause())
            while letter is not None:  # nobody is buried before all is heard: this rank may have slept itself
                self.hear(letter)
                letter = yield Wait(0.0)
            yield from self.strikes()
            self.bury()
            self.fill()
            if self.me.view.number != told:
                told = self.me.view.number
                yield from self.tell()
        yield from self.end()

    def pause(self) -> float:
        """Give the seconds until something is due."""
        now = self.me.clock()
        times = [fault.seconds - now for fault in self.faults if fault.seconds is not None]
        return max(0.0, min([self.rules.beat / 2.0, self.rules.seconds - now, *times]))

    def tell(self) -> Actor:
        """Send the view to all, also to those that are thought dead: who is not, must stop."""
        for rank in self.others():
            yield Send(rank, Message(Kind.VIEW, self.me.view.number, 0, views.encode(self.me.view)))

    def others(self) -> Sequence[int]:
        """Give all ranks but this one."""
        return [rank for rank in self.heard if rank != self.me.rank]

    def hear(self, letter: Letter) -> None:
        """Note a beat, an update, or weights."""
        source, message = letter
        now = self.me.clock()
        if message.kind is Kind.BEAT:
            self.note_life(source, message)
        elif message.kind is Kind.APPLIED and message.vector is not None:
            step = float(message.vector[0])
            self.record.updates.append(Update(now, message.number, message.amount, step))
        elif message.kind is Kind.SNAPSHOT and message.vector is not None:
            self.record.show(now, message.number, message.vector)

    def note_life(self, rank: int, beat: Message) -> None:
        """Note a beat; a new life has forgotten everything, and one that was thought dead is a spare again."""
        role = self.me.view.places[rank].role
        if beat.number != self.lives[rank] and role is not Role.GONE:
            self.lose(rank)
            role = Role.GONE
        self.lives[rank], self.heard[rank] = beat.number, self.me.clock()
        self.record.lives[rank, beat.number] = counts_of(beat)
        if role is Role.GONE:
            self.me.view = self.me.view.given(rank, Role.SPARE)
        elif role is not Role.SPARE:
            self.record.roles[rank, beat.number] = role

    def strikes(self) -> Actor:
        """Kill whoever is to die by now; where nobody has that role the fault falls on nobody."""
        for fault in filter(self.due, list(self.faults)):
            self.faults.remove(fault)
            self.me.view = self.me.view._replace(pending=len(self.faults))
            ranks = [rank for rank in self.me.view.having(fault.role) if rank not in self.ends]
            if len(ranks) > fault.place:
                victim = ranks[fault.place]
                self.ends[victim] = self.me.clock() + fault.outage
                self.note("killed", victim)
                yield Strike(victim, fault.outage, self.pid(victim))

    def due(self, fault: Fault) -> bool:
        """Say whether it is time for a fault."""
        if fault.seconds is not None:
            return self.me.clock() >= fault.seconds
        return bool(self.record.updates) and self.record.updates[-1].version >= fault.update

    def pid(self, rank: int) -> int:
        """Give the process of a rank, if it is on this machine."""
        counts = self.record.lives.get((rank, self.lives[rank]))
        return counts.pid if counts is not None and counts.host == self.me.counts.host else 0

    def bury(self) -> None:
        """Take their roles from those that have been silent for too long, and which MPI does not think alive."""
        for rank in self.others():
            silence = (self.me.clock() - self.heard[rank]) / self.rules.detection
            dead = silence > SLOW or (silence > 1.0 and (self.lost is None or rank in self.lost))
            if dead and self.me.view.places[rank].role is not Role.GONE:
                self.lose(rank)

    def lose(self, rank: int) -> None:
        """Take a rank's role; whoever dies unplanned is replaced `outage` seconds after it was last heard of."""
        role = self.me.view.places[rank].role
        self.note("lost", rank)
        self.me.view = self.me.view.given(rank, Role.GONE)
        until = self.ends.pop(rank, self.heard[rank] + self.rules.outage)
        if role is not Role.SPARE:
            self.vacancies.append(Vacancy(role, until))

    def fill(self) -> None:
        """Give spares the roles that have been vacant for long enough."""
        for vacancy in sorted(self.vacancies, key=lambda v: v.until):
            spare = self.me.view.head(Role.SPARE)
            if spare is not None and self.me.clock() >= vacancy.until:
                self.vacancies.remove(vacancy)
                self.me.view = self.me.view.given(spare, vacancy.role)
                self.note("started", spare)

    def note(self, what: str, rank: int) -> None:
        """Write down an event."""
        role = self.me.view.places[rank].role
        first = self.me.view.head(role) == rank
        self.record.events.append(ServerEvent(self.me.clock(), what, rank, role, first))

    def end(self) -> Actor:
        """Stop all, and take their last beats."""
        for rank in self.others():
            yield Send(rank, Message(Kind.STOP))
        living = {rank for rank in self.others() if self.me.view.places[rank].role is not Role.GONE}
        late = self.me.clock() + LAST_WORDS
        while living and self.me.clock() < late:
            letter = yield Wait(late - self.me.clock())
            if letter is not None and letter[1].kind is Kind.BEAT:
                self.note_life(*letter)
                living -= {letter[0]} if letter[1].amount else set()
