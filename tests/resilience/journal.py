"""A small model of a run: what happened, in order, and what may never happen.

* Rounds rise by one in each attempt, and all ranks have the same model after each round.
* Each row has one owner.
* No attempt begins before the newest checkpoint that was reported to be on the disk.
* A number of a checkpoint is committed once, and the numbers rise.
"""

from dataclasses import dataclass, field


@dataclass
class Attempt:
    """One assignment of ranks: where each stands."""

    size: int
    rounds: dict = field(default_factory=dict)  # by rank: the last round
    models: dict = field(default_factory=dict)  # by round: the checksum of the model on the first rank there
    rows: dict = field(default_factory=dict)  # by rank: positions of its rows
    began: int = -1  # the first round


class Journal:
    """The events of a job over all its lives; `faults` has the rules that were broken, in words."""

    def __init__(self):
        self.events, self.faults, self.lost = [], [], 0
        self.durable = []  # (number, round) of the checkpoints that were reported to be on the disk
        self.floor = 0  # the round before which no attempt may begin
        self.wrong_bits = False  # a bit was flipped in this life: ranks may differ until it is found
        self.attempts, self._newest = {}, {}

    def note(self, *event):
        self.events.append(event)

    def broken(self, text):
        self.faults.append(text)
        self.note("FAULT", text)

    def began(self, names):
        self.note("life", *names)
        self.wrong_bits = False
        self._newest = {}

    def died(self, name):
        self.lost += 1
        self.note("died", name)

    def placed(self, name, rank, size, lost):
        self.note("placed", name, rank, size, lost)
        self._newest[name] = (rank, Attempt(size))

    def joined(self, name, attempt, total, rows):
        """Note the rows of a rank; `attempt` is the same object for all ranks of an attempt."""
        rank, mine = self._newest[name]
        shared = self.attempts.setdefault(attempt, mine)
        self._newest[name] = (rank, shared)
        shared.rows[rank] = rows
        if len(shared.rows) == shared.size:
            owners = sorted(position for each in shared.rows.values() for position in each)
            if owners != list(range(total)):
                self.broken(f"rows are not owned once each: {len(owners)} of {total}")

    def reached(self, name, k, model):
        """Note that a rank stands between two rounds, before round k."""
        rank, attempt = self._newest[name]
        self.note("reached", name, rank, k)
        last = attempt.rounds.get(rank)
        if last is not None and k != last + 1:
            self.broken(f"rank {rank} went from round {last} to {k}")
        if last is None and k < self.floor:
            self.broken(f"rank {rank} begins at round {k}; round {self.floor} was on the disk")
        attempt.rounds[rank] = k
        if attempt.models.setdefault(k, model) != model and not self.wrong_bits:
            self.broken(f"rank {rank} has another model in round {k}")

    def committed(self, name, number, k):
        self.note("committed", name, number, k)
        if self.durable and number <= self.durable[-1][0]:
            self.broken(f"checkpoint {number} was committed after {self.durable[-1][0]}")
        self.durable.append((number, k))
        self.floor = max(self.floor, k)

    def damaged(self):
        """Note that the newest checkpoint was damaged on the disk: the one before is what counts."""
        self.durable.pop()
        self.floor = self.durable[-1][1] if self.durable else 0

    def ended(self, name, code):
        self.note("ended", name, code)
