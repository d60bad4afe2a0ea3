"""Ranks in threads that die: a membership for `run_elastic`, so that laws can kill at every single exchange."""

import threading
from types import SimpleNamespace

from mpiopt.comm.base import Assignment
from mpiopt.comm.errors import RankLost
from mpiopt.comm.membership import LOST, new_ranks
from mpiopt.comm.threads import ThreadComm, ThreadWorld, single
from mpiopt.resilience.signals import StopSignal

PATIENCE = 60.0


class Died(BaseException):
    """The end of a rank's thread."""


class Fleet:
    """All threads: who is alive, and where they meet; `deaths` has, for each rank, the exchange at which it dies."""

    def __init__(self, size, deaths):
        self.alive = set(range(size))
        self.deaths = dict(deaths)
        self.meeting = threading.Condition()
        self.brought, self.results, self.number = {}, {}, 0

    def meet(self, member, value):
        """Return what all living ranks bring, by rank."""
        with self.meeting:
            number = self.number
            self.brought[member] = value
            self.meeting.notify_all()
            while number not in self.results:
                if self.brought.keys() >= self.alive:
                    self.results[number] = {m: self.brought[m] for m in sorted(self.alive)}
                    self.brought, self.number = {}, number + 1
                    self.meeting.notify_all()
                elif not self.meeting.wait(PATIENCE):
                    raise RuntimeError(f"{member} waited in vain; alive {self.alive}, here {set(self.brought)}")
            return self.results[number]

    def bury(self, member):
        with self.meeting:
            self.alive.discard(member)
            self.meeting.notify_all()


class MortalComm(ThreadComm):
    tolerant = True

    def __init__(self, rank, world, membership):
        super().__init__(rank, world)
        self.membership = membership

    def swap(self, verb, x):
        self.membership.exchanges += 1
        if self.membership.exchanges == self.membership.fleet.deaths.get(self.membership.member):
            self.membership.fleet.bury(self.membership.member)
            self._world.abort()
            raise Died
        try:
            return super().swap(verb, x)
        except threading.BrokenBarrierError as error:
            raise RankLost(str(error)) from None


class MortalMembership:
    """What `mpiopt.comm.mpi.ulfm.UlfmMembership` is over MPI."""

    def __init__(self, fleet, member):
        self.fleet, self.member = fleet, member
        self.rank, self.size, self.wanted, self.exchanges = -1, 0, 0, 0
        self.comm = None

    def assign_ranks(self, spares):
        told = self.fleet.meet(self.member, self.rank)
        held = list(told.values())
        if not self.wanted:
            self.wanted = len(held) - spares(single())
        lost = tuple(rank for rank in range(self.size) if rank not in held)
        self.wanted = self.size = min(self.wanted, len(held))
        self.rank = new_ranks(held, self.wanted)[list(told).index(self.member)]
        worlds = self.fleet.meet(self.member, ThreadWorld(self.wanted, PATIENCE))
        world = next(iter(worlds.values()))
        self.comm = MortalComm(self.rank, world, self) if self.rank >= 0 else None
        return Assignment(self.comm, lost)

    def is_rank_loss(self, error):
        if isinstance(error, RankLost | threading.BrokenBarrierError):  # `receive_available` does not use `swap`
            self.comm._world.abort()
            return True
        return False

    def agree_on_code(self, code):
        codes = [c for c in self.fleet.meet(self.member, code).values() if c is not None]
        return LOST if LOST in codes or not codes else codes[0]

    def await_code(self):
        return self.agree_on_code(None)


def outlive(size, deaths, main):
    """Run `main(membership)` in `size` threads of which some die; give the results of the others by rank.

    `deaths`: rank -> the number of the exchange, counted from 1 over all its life, at which it dies.
    """
    fleet, results, errors = Fleet(size, deaths), {}, {}

    def run(member):
        try:
            results[member] = main(MortalMembership(fleet, member))
        except Died:
            pass
        except BaseException as error:
            errors[member] = error
        finally:
            fleet.bury(member)

    threads = [threading.Thread(target=run, args=(r,), daemon=True) for r in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(3 * PATIENCE)
    if errors:
        raise errors[min(errors)]
    assert not any(thread.is_alive() for thread in threads), "a rank hangs"
    return results


def trained(size, deaths, words):
    """Return the exit codes of `train` by rank, of those that lived."""
    from mpiopt.training.train import train

    return outlive(size, deaths, lambda members: train(words, SimpleNamespace(membership=members), StopSignal()))
