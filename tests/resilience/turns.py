"""Threads of which one runs at a time, on a clock of their own; a seed draws who is next and how long a step takes.

All that a thread does between two steps happens at once. So the order of all that ranks, files and background threads
do follows from the seed alone, and a run can be repeated. A thread that waits says for what; if all wait for what
cannot come, that is an error that says where each stands, and no test hangs.
"""

import random
import threading
import time

SECONDS = 600  # of the real clock that a thread may take between two steps, also where others compute
STEP = 1e-3  # seconds of the clock of the world that a step takes in the mean


class Died(BaseException):
    """The end of a rank: it does nothing more, and its handlers of errors do not see this."""


class Stuck(BaseException):
    """No thread can go on."""


def closed():
    """Return a lock that the first taker waits for."""
    lock = threading.Lock()
    lock.acquire()
    return lock


def taken(turn, seconds):
    """Take a turn that another thread gives; return False after so many seconds in which nothing was stopped."""
    return any(turn.acquire(timeout=1.0) for _ in range(seconds))


class Task:
    """A thread that takes turns."""

    def __init__(self, name, owner):
        self.name, self.owner = name, owner  # `owner`: the rank's process, whose death ends all its threads
        self.turn = closed()
        self.ready = None  # None: can run; else a function
        self.until = 0.0  # an end of the wait in any case, if not 0
        self.done = False


class Process:
    """A rank with its threads: how slow it is, and at which of its steps it dies or of its exchanges it fails."""

    def __init__(self, name, slowness=1.0, dies_at=0, fails_at=0):
        self.name, self.slowness, self.dies_at, self.fails_at = name, slowness, dies_at, fails_at
        self.steps, self.exchanges, self.dead = 0, 0, False


class Turns:
    """All threads of a world; `run` runs them until all have ended."""

    def __init__(self, seed):
        self.rng, self.now = random.Random(seed), 0.0
        self.tasks, self.stuck, self.on_death = [], "", lambda process: None
        self._here = threading.local()
        self._main = closed()

    @property
    def task(self):
        """The task of the calling thread; None outside the world."""
        return getattr(self._here, "task", None)

    def start(self, name, owner, work):
        """Add a thread; it runs when it gets its first turn."""
        task = Task(name, owner)

        def main():
            self._here.task = task
            self._await(task)
            try:
                if not self.stuck:
                    work()
            except (Died, Stuck):
                pass
            finally:
                task.done = True
                self._pass_on()

        threading.Thread(target=main, daemon=True).start()
        self.tasks.append(task)
        return task

    def run(self):
        """Give turns until all tasks are done; raise Stuck if none can go on."""
        self._pass_on()
        assert taken(self._main, 10 * SECONDS), "a thread takes no turn"
        if self.stuck:
            raise Stuck(self.stuck)

    def step(self, cost=1.0):
        """Let others run; the owner may die here."""
        self.wait(None, cost=cost)

    def sleep(self, seconds):
        """Wait for so long on the clock of the world."""
        self.wait(lambda: False, seconds)

    def wait(self, ready, seconds=0.0, cost=1.0):
        """Wait until `ready()`, or until `seconds` have passed if they are not 0; return whether it is ready."""
        task, owner = self.task, self.task.owner
        owner.steps += 1
        self.now += self.rng.expovariate(1.0 / (STEP * owner.slowness * cost)) if cost else 0.0
        if owner.steps == owner.dies_at:
            owner.dead = True
            self.on_death(owner)
        if owner.dead:
            raise Died
        task.ready, task.until = ready, self.now + seconds if seconds else 0.0
        self._pass_on()
        self._await(task)
        task.ready, task.until = None, 0.0
        if owner.dead:
            raise Died
        if self.stuck:
            raise Stuck
        return ready is None or bool(ready())

    def _await(self, task):
        if not taken(task.turn, SECONDS):
            self.stuck = self.stuck or f"{task.name} got no turn in {SECONDS} s"

    def _can_run(self, task):
        if task.owner.dead or self.stuck or task.ready is None:
            return True
        return bool(task.ready()) or 0.0 < task.until <= self.now

    def _pass_on(self):
        alive = [task for task in self.tasks if not task.done]
        if not alive:
            self._main.release()
            return
        able = [task for task in alive if self._can_run(task)]
        if not able:
            sleeping = [task.until for task in alive if task.until]
            if sleeping:
                self.now = min(sleeping)
            else:
                self.stuck = "all wait: " + ", ".join(task.name for task in alive)
            able = [task for task in alive if self._can_run(task)]
        self.rng.choice(able).turn.release()

    # ---- what the program under test uses in place of `time` and `threading`

    def patch(self, monkeypatch):
        """Let the threads of this world see its clock."""
        for name in ("monotonic", "perf_counter"):
            monkeypatch.setattr(time, name, self._clock(getattr(time, name)))
        real = time.sleep
        monkeypatch.setattr(time, "sleep", lambda seconds: self.sleep(seconds) if self.task else real(seconds))

    def _clock(self, real):
        return lambda: self.now if self.task is not None else real()


class Threads:
    """What `threading` is to a module whose threads take turns."""

    def __init__(self, turns):
        self._turns = turns

    def Event(self):
        return Event(self._turns)

    def Thread(self, target, args=(), name="", daemon=False):
        return Thread(self._turns, lambda: target(*args), name)


class Event:
    """`threading.Event` among threads that take turns."""

    def __init__(self, turns):
        self._turns, self._set = turns, False

    def set(self):
        self._set = True

    def is_set(self):
        return self._set

    def wait(self, timeout=None):
        return self._set or self._turns.wait(self.is_set, timeout or 0.0)


class Thread:
    """`threading.Thread` among threads that take turns; it belongs to the process of the thread that makes it."""

    def __init__(self, turns, work, name):
        self._turns, self._work, self._name, self._task = turns, work, name, None

    def start(self):
        owner = self._turns.task.owner
        self._task = self._turns.start(f"{owner.name}: {self._name}", owner, self._work)

    def join(self):
        self._turns.wait(lambda: self._task.done)

    def is_alive(self):
        return not self._task.done
