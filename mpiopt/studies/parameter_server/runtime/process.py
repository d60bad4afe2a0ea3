"""Run a configuration between ranks, each of which is a process: real time, messages between the ranks.

There are two ways to die. "sigkill": the process is killed, and MPI survives that (ULFM). "silent": the rank loses
its memory, neither receives nor sends during the outage, and comes back as a spare. The protocol sees no difference.
"""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import time
import zlib
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, Protocol

from mpiopt.comm.base import Array, Comm, Message
from mpiopt.results.summary import peak_nbytes
from mpiopt.studies.parameter_server.runtime import messages
from mpiopt.studies.parameter_server.runtime.actor import Compute, KillRank, Operation, RankState, Send
from mpiopt.studies.parameter_server.runtime.faults import Fault
from mpiopt.studies.parameter_server.runtime.host import ActorFactory, Host
from mpiopt.studies.parameter_server.runtime.log import ServerLog
from mpiopt.studies.parameter_server.runtime.messages import ActorMessage, MessageKind, Received
from mpiopt.studies.parameter_server.runtime.registry import Registry, Timing
from mpiopt.studies.parameter_server.runtime.task import ServerTask
from mpiopt.studies.parameter_server.runtime.view import View, blank_view

POLL = 5e-4  # seconds between two polls for messages
PATIENCE = 30.0  # seconds after the end of the run in which the message to stop must arrive
SIGKILL, SILENT = "sigkill", "silent"


class ProcessMailbox(Protocol):
    """What a process needs for its messages; every `Comm` has it."""

    rank: int

    def send(self, payload: Array, to: int) -> None:
        """Send bytes to a rank."""
        ...

    def receive_available(self) -> list[Message]:
        """Return what has arrived, with the ranks that sent it."""
        ...


class ServerRun(NamedTuple):
    """What all ranks of a run agree on."""

    view: View
    actors: ActorFactory
    timing: Timing
    faults: Sequence[Fault]
    snapshot_interval: float  # seconds


def run(
    plan: ServerRun,
    task: ServerTask,
    comm: Comm,
    mailbox: ProcessMailbox,
    death: str,
    failed: Collection[int] | None = None,
) -> ServerLog | None:
    """Run as one rank; collective until the clock starts. Rank 0 returns the log.

    Parameters
    ----------
    plan
        The same on all ranks.
    task
        What is learned.
    comm
        Used before the clock starts.
    mailbox
        Carries the messages of the run.
    death
        SIGKILL or SILENT.
    failed
        The ranks that MPI knows to be dead, updated during the run; None if MPI does not tell.

    Raises
    ------
    RuntimeError
        If the registry is dead.
    """
    w = task.start()
    task.stepped(w, [task.gradient(w, 0, 0, 0)])  # loads and compiles what is needed before the clock starts
    comm.barrier()
    began = time.monotonic()
    log = ServerLog() if comm.rank == 0 else None

    def new_host(incarnation: int) -> Host:
        view = plan.view if incarnation == 0 else blank_view(plan.view, comm.rank)
        clock = lambda: time.monotonic() - began  # noqa: E731
        state = RankState(comm.rank, view, clock, incarnation, snapshot_interval=plan.snapshot_interval)
        if log is None:
            return Host(state, plan.actors)
        return Host(state, lambda state: Registry(state, plan.timing, plan.faults, log, failed).run())

    end = plan.timing.seconds + PATIENCE
    orphaned = lambda: failed is not None and 0 in failed  # noqa: E731
    Process(mailbox, new_host, plan.timing.heartbeat, death, end, orphaned).run()
    return log


class Process:
    """Runs one rank until the registry stops it; after a silent death `new_host` makes the rank anew.

    The run fails if `orphaned` says that the registry is dead, or if no message to stop has arrived by `end`.
    """

    def __init__(
        self,
        mailbox: ProcessMailbox,
        new_host: Callable[[int], Host],  # from the incarnation
        heartbeat: float,  # seconds between two heartbeats
        death: str,
        end: float,  # seconds
        orphaned: Callable[[], bool] = lambda: False,
    ) -> None:
        self._mailbox, self._new_host, self._heartbeat, self._death = mailbox, new_host, heartbeat, death
        self._end, self._orphaned = end, orphaned
        self._arrived: deque[Received] = deque()
        self._next_heartbeat, self._incarnation = 0.0, 0
        self._view_changed = False
        self.over = False
        self.host = self._start(0)

    @property
    def state(self) -> RankState:
        """The memory of the rank."""
        return self.host.state

    def run(self) -> None:
        """Carry out the operations of the actor; RuntimeError if the registry is dead."""
        value: object = None
        while not self.over:
            try:
                value = self._carry_out(self.host.resume(value))
            except StopIteration:  # only the registry ends by itself
                return
            self._send_heartbeat()
            if self.state.clock() > self._end or self._orphaned():
                raise RuntimeError(
                    f"rank {self._mailbox.rank} got no message to stop: is the registry, rank 0, dead?"
                )
        self._send(0, self.host.heartbeat(last=True))

    def _start(self, incarnation: int) -> Host:
        self._incarnation, self._next_heartbeat = incarnation, 0.0
        host = self._new_host(incarnation)
        host.state.counts.pid, host.state.counts.host = os.getpid(), zlib.crc32(platform.node().encode())
        return host

    def _carry_out(self, operation: Operation) -> object:
        if isinstance(operation, Send):
            self._send(*operation)
        elif isinstance(operation, Compute):
            began = time.thread_time()
            result = operation.call()
            self.state.counts.busy += time.thread_time() - began
            return result
        elif isinstance(operation, KillRank):
            self._kill(operation)
        else:
            return self._receive(operation.seconds)
        return None

    def _receive(self, seconds: float) -> Received | None:
        began = self.state.clock()
        incarnation = self._incarnation
        while True:
            self._read_messages()
            now = self.state.clock()
            if self.over or self._view_changed or self._arrived or now - began >= seconds:
                break
            if now > self._end or self._orphaned():
                break
            self._send_heartbeat()
            time.sleep(POLL)
        if incarnation == self._incarnation:
            self.state.counts.idle += now - began
        if self._view_changed or not self._arrived:
            self._view_changed = False
            return None
        return self._arrived.popleft()

    def _read_messages(self) -> None:
        for source, data in self._mailbox.receive_available():
            message = messages.decode(data)
            if message.kind is MessageKind.VIEW:
                self.host.update_view(message)
                self._view_changed = True
            elif message.kind is MessageKind.STOP:
                self.over = True
            elif message.kind is MessageKind.KILL:
                return self._die(message.amount / 1000.0)
            else:
                self._arrived.append(Received(source, message))
        return None

    def _send(self, to: int, message: ActorMessage) -> None:
        self.state.counts.bytes_sent += message.nbytes
        self._mailbox.send(messages.encode(message), to)

    def _send_heartbeat(self) -> None:
        now = self.state.clock()
        if now >= self._next_heartbeat and self._mailbox.rank != 0:
            self._next_heartbeat = now + self._heartbeat
            self.state.counts.resident = peak_nbytes()
            self._send(0, self.host.heartbeat())

    def _kill(self, victim: KillRank) -> None:
        if self._death == SIGKILL and victim.pid:
            with contextlib.suppress(ProcessLookupError):  # the process has died already
                os.kill(victim.pid, signal.SIGKILL)
        else:
            self._send(victim.rank, ActorMessage(MessageKind.KILL, 0, round(1000.0 * victim.seconds)))

    def _die(self, seconds: float) -> None:
        if self._death == SIGKILL:
            os.kill(os.getpid(), signal.SIGKILL)
        end = self.state.clock() + seconds
        while self.state.clock() < end and not self.over:
            time.sleep(POLL)
            self.over = any(
                messages.decode(data).kind is MessageKind.STOP for _, data in self._mailbox.receive_available()
            )
        self._arrived.clear()
        self.host = self._start(self._incarnation + 1)
        self._view_changed = True
