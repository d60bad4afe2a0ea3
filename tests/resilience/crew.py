"""The ranks of a job as threads that take turns: a communicator whose ranks die, and the membership above it."""

import threading

from mpiopt.comm.base import Assignment
from mpiopt.comm.errors import RankLost
from mpiopt.comm.membership import LOST, new_ranks
from mpiopt.comm.threads import ThreadComm, ThreadWorld, single

PATIENCE = 1e9  # seconds of the clock of the world: what never comes is found without a clock


class TurnsWorld(ThreadWorld):
    """What the ranks of one communicator share; a rank's death breaks it for all."""

    def __init__(self, turns, size):
        super().__init__(size, PATIENCE)
        self.turns = turns

    def meet(self, rank, value):
        row = self.rows[self.calls[rank] % 2]
        self.calls[rank] += 1
        row[rank] = value
        self.turns.wait(lambda: self.broken or min(self.calls) >= self.calls[rank])
        if min(self.calls) < self.calls[rank]:
            raise threading.BrokenBarrierError
        return list(row)

    def pause(self, rank):
        self.turns.step()
        if self.broken:
            raise threading.BrokenBarrierError

    def abort(self):
        self.broken = True


class Crew:
    """All processes of one life of a job: who is alive, and where the living meet."""

    def __init__(self, turns, processes, journal):
        self.turns, self.journal = turns, journal
        self.alive = {member: process for member, process in enumerate(processes)}
        self.worlds = {}  # by process: the world that its death breaks
        self.brought, self.results, self.number = {}, {}, 0
        turns.on_death = self.bury

    def meet(self, member, value):
        """Return what all living processes bring, by member."""
        number = self.number
        self.brought[member] = value
        self._complete()
        self.turns.wait(lambda: number in self.results)
        return self.results[number]

    def _complete(self):
        if self.alive and self.brought.keys() >= self.alive.keys():
            self.results[self.number] = {member: self.brought[member] for member in sorted(self.alive)}
            self.brought, self.number = {}, self.number + 1

    def bury(self, process):
        """Note a death: meetings go on without it, and its communicator is broken."""
        member = next((m for m, one in self.alive.items() if one is process), None)
        if member is None:
            return
        self.journal.died(process.name)
        self.leave(member)
        if process.name in self.worlds:
            self.worlds[process.name].abort()

    def occupy(self, world, members):
        """Note in which world these members are; where one has died in the meantime its place stays empty."""
        self.worlds |= {process.name: world for process in self.alive.values()}
        if not members.keys() <= self.alive.keys():
            world.abort()

    def leave(self, member):
        self.alive.pop(member, None)
        self._complete()


class TurnsComm(ThreadComm):
    """A communicator of the crew: the loss of a rank is an error on the others."""

    tolerant = True

    def __init__(self, rank, world, membership):
        super().__init__(rank, world)
        self.membership = membership

    def swap(self, call, x):
        process = self.membership.process
        process.exchanges += 1
        if process.exchanges == process.fails_at:  # as MPI may fail on one rank, although all are alive
            self.membership.crew.journal.note("failed", process.name, call)
            raise RankLost(f"the call {call.split()[0]} failed")
        try:
            return super().swap(call, x)
        except threading.BrokenBarrierError as error:
            raise RankLost(str(error)) from None


class CrewMembership:
    """What `mpiopt.comm.mpi.ulfm.UlfmMembership` is over MPI, for one process of a crew."""

    def __init__(self, crew, member):
        self.crew, self.member, self.process = crew, member, crew.alive[member]
        self.rank, self.size, self.wanted, self.attempt = -1, 0, 0, 0
        self.comm = None

    def assign_ranks(self, spares):
        told = self.crew.meet(self.member, (self.rank, self.wanted, self.size))
        held = [rank for rank, _, _ in told.values()]
        # A process that has not seen a meeting to its end takes the numbers of those that have.
        self.wanted = max([wanted for _, wanted, _ in told.values()]) or max(1, len(held) - spares(single()))
        before = max([size for _, _, size in told.values()])
        lost = tuple(rank for rank in range(before) if rank not in held)
        self.wanted = self.size = min(self.wanted, len(held))
        self.rank = new_ranks(held, self.size)[list(told).index(self.member)]
        worlds = self.crew.meet(self.member, TurnsWorld(self.crew.turns, self.size))
        world = next(iter(worlds.values()))
        self.attempt += 1
        self.crew.occupy(world, told)
        self.comm = TurnsComm(self.rank, world, self) if self.rank >= 0 else None
        self.crew.journal.placed(self.process.name, self.rank, self.size, lost)
        return Assignment(self.comm, lost)

    def is_rank_loss(self, error):
        if isinstance(error, RankLost | threading.BrokenBarrierError):
            self.comm._world.abort()
            return True
        return False

    def agree_on_code(self, code):
        codes = [c for c in self.crew.meet(self.member, code).values() if c is not None]
        return LOST if LOST in codes or not codes else codes[0]

    def await_code(self):
        return self.agree_on_code(None)


def live(turns, processes, journal, main):
    """Run `main(membership)` as these processes; return what each that lived has returned or raised, by name."""
    crew, ends = Crew(turns, processes, journal), {}

    def work(member, process):
        try:
            ends[process.name] = main(CrewMembership(crew, member))
        except Exception as error:
            ends[process.name] = error
            if process.name in crew.worlds:
                crew.worlds[process.name].abort()
        crew.leave(member)

    names = [process.name for process in processes]
    journal.began(names)
    for member, process in enumerate(processes):
        turns.start(process.name, process, lambda m=member, p=process: work(m, p))
    turns.run()
    return ends
