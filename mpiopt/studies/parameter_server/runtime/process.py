"""One rank as a process: operations are carried out, time is the clock's, letters travel as mail between the ranks.

How a rank dies: "sigkill": its process is killed, and MPI survives that (ULFM); "silent": it loses its memory, hears
nothing and says nothing for the outage, and comes back as a spare. The protocol can not tell the two apart.
"""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import time
import zlib
from collections import deque
from collections.abc import Callable
from typing import Protocol

from mpiopt.comm.base import Array
from mpiopt.comm.base import Message as Wire
from mpiopt.results.summary import peak_nbytes
from mpiopt.studies.parameter_server.runtime import messages
from mpiopt.studies.parameter_server.runtime.actor import Me, Operation, Send, Strike, Work
from mpiopt.studies.parameter_server.runtime.host import Host
from mpiopt.studies.parameter_server.runtime.messages import Kind, Letter, Message

NAP = 5e-4  # seconds between two looks at the mail
SIGKILL, SILENT = "sigkill", "silent"


class ProcessMailbox(Protocol):
    """What is needed of the ranks' mail; every `Comm` has it."""

    rank: int

    def send(self, payload: Array, to: int) -> None:
        """Send."""
        ...

    def receive_available(self) -> list[Wire]:
        """Receive."""
        ...


class Process:
    """Runs a rank until the registry says stop; `born` makes the host of a life from its number.

    `orphaned` says whether the registry is known to be dead; so it is where the word to stop has not come by `end`.
    """

    def __init__(
        self,
        mail: ProcessMailbox,
        born: Callable[[int], Host],
        beat: float,
        death: str,
        end: float,
        orphaned: Callable[[], bool] = lambda: False,
    ) -> None:
        self._mail, self._born, self._beat, self._death = mail, born, beat, death
        self._end, self._orphaned = end, orphaned
        self._here: deque[Letter] = deque()
        self._next_beat, self._life = 0.0, 0
        self._changed = False  # the actor shall look at the view
        self.over = False
        self.host = self._live(0)

    @property
    def me(self) -> Me:
        """The memory."""
        return self.host.me

    def run(self) -> None:
        """Carry out what the actor wants; RuntimeError where the registry is dead."""
        value: object = None
        while not self.over:
            try:
                value = self._do(self.host.resume(value))
            except StopIteration:  # only the registry comes to an end
                return
            self._beats()
            if self.me.clock() > self._end or self._orphaned():
                raise RuntimeError(f"rank {self._mail.rank} was not told to stop: is the registry, rank 0, dead?")
        self._send(0, self.host.beat()._replace(amount=1))

    def _live(self, life: int) -> Host:
        self._life, self._next_beat = life, 0.0
        host = self._born(life)
        host.me.counts.pid, host.me.counts.host = os.getpid(), zlib.crc32(platform.node().encode())
        return host

    def _do(self, operation: Operation) -> object:
        if isinstance(operation, Send):
            self._send(*operation)
        elif isinstance(operation, Work):
            began = time.thread_time()
            result = operation.call()
            self.me.counts.busy += time.thread_time() - began
            return result
        elif isinstance(operation, Strike):
            self._strike(operation)
        else:
            return self._wait(operation.seconds)
        return None

    def _wait(self, seconds: float) -> Letter | None:
        began = self.me.clock()
        life = self._life
        while True:
            self._receive()
            now = self.me.clock()
            if self.over or self._changed or self._here or now - began >= seconds:
                break
            if now > self._end or self._orphaned():
                break
            self._beats()
            time.sleep(NAP)
        if life == self._life:
            self.me.counts.idle += now - began
        if self._changed or not self._here:
            self._changed = False
            return None
        return self._here.popleft()

    def _receive(self) -> None:
        for source, wire in self._mail.receive_available():
            message = messages.decode(wire)
            if message.kind is Kind.VIEW:
                self.host.told(message)
                self._changed = True
            elif message.kind is Kind.STOP:
                self.over = True
            elif message.kind is Kind.STRIKE:
                return self._die(message.amount / 1000.0)
            else:
                self._here.append((source, message))
        return None

    def _send(self, to: int, message: Message) -> None:
        self.me.counts.bytes_sent += message.nbytes
        self._mail.send(messages.encode(message), to)

    def _beats(self) -> None:
        now = self.me.clock()
        if now >= self._next_beat and self._mail.rank != 0:
            self._next_beat = now + self._beat
            self.me.counts.resident = peak_nbytes()
            self._send(0, self.host.beat())

    def _strike(self, strike: Strike) -> None:
        if self._death == SIGKILL and strike.pid:
            with contextlib.suppress(ProcessLookupError):  # somebody else was faster
                os.kill(strike.pid, signal.SIGKILL)
        else:
            self._send(strike.rank, Message(Kind.STRIKE, 0, round(1000.0 * strike.seconds)))

    def _die(self, seconds: float) -> None:
        if self._death == SIGKILL:
            os.kill(os.getpid(), signal.SIGKILL)
        end = self.me.clock() + seconds
        while self.me.clock() < end and not self.over:
            time.sleep(NAP)
            self.over = any(messages.decode(wire).kind is Kind.STOP for _, wire in self._mail.receive_available())
        self._here.clear()
        self.host = self._live(self._life + 1)
        self._changed = True
