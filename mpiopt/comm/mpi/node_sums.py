"""Sums over several nodes: within each node, between the nodes, and back (`mpiopt.comm.nodes`)."""

from __future__ import annotations

import hashlib
from collections.abc import Generator

import numpy as np
from mpi4py import MPI

from mpiopt.comm.base import Array
from mpiopt.comm.nodes import Nodes
from mpiopt.comm.reduction import slice_of

Requests = Generator[MPI.Request, None, None]


def find_nodes(comm: MPI.Intracomm, host: str) -> Nodes | None:
    """Return which ranks share a host, None where sums do not gain from it; collective."""
    own = np.frombuffer(hashlib.sha256(host.encode()).digest()[:8], np.int64)
    hosts = np.empty(comm.size, np.int64)
    comm.Allgather(own, hosts)
    nodes = Nodes.of(hosts.tolist())
    return nodes if nodes.matter else None


class NodeSums:
    """The communicators of sums over several nodes; making them is collective.

    Attributes
    ----------
    within : mpi4py.MPI.Intracomm
        The ranks of this node.
    between : mpi4py.MPI.Intracomm
        The ranks of all nodes with one number on their nodes; MPI.COMM_NULL on a rank that adds nothing.
    """

    def __init__(self, comm: MPI.Intracomm, nodes: Nodes) -> None:
        self._nodes, self._node = nodes, nodes.of_rank(comm.rank)
        self.within = comm.Split(self._node, comm.rank)
        self.between = comm.Split(self.within.rank if self._adds(nodes.adders) else MPI.UNDEFINED, comm.rank)

    @property
    def communicators(self) -> list[MPI.Comm]:
        """The communicators of this rank, to be revoked or freed."""
        return [comm for comm in (self.within, self.between) if comm != MPI.COMM_NULL]

    def _adds(self, adders: int) -> bool:
        return self.within.rank < adders

    def gather(self, x: Array) -> Requests:
        """Put the sum over the ranks into the flat vector `x`: one rank of each node adds, and tells the others.

        Each request must be done before the next one is taken.
        """
        first = self._adds(1)
        parts = np.empty((self.within.size if first else 0, x.size), x.dtype)
        yield self.within.Igather(x, parts, 0)
        if first:
            own = self._nodes.add_own(self._node, list(parts))
            rows = [len(self._nodes.subtrees(k)) for k in range(self._nodes.count)]
            every = np.empty((sum(rows), x.size), x.dtype)
            yield self.between.Iallgatherv(own, [every, ([n * x.size for n in rows], None)])
            x[...] = self._nodes.add_all(every)
        yield self.within.Ibcast(x, 0)

    def exchange_slices(self, x: Array) -> Requests:
        """Do the same for a long vector: an adder of a node has a slice, of which each node adds a slice again."""
        adders = self._nodes.adders
        counts = [slice_of(x, adders, j).size if j < adders else 0 for j in range(self.within.size)]
        own = np.empty(counts[self.within.rank], x.dtype)
        parts = np.empty((self.within.size, own.size), x.dtype)
        yield self.within.Ialltoallv([x, (counts, None)], [parts, ([own.size] * len(parts), None)])
        if self._adds(adders):
            yield from self._between(self._nodes.add_own(self._node, list(parts)), own)
        yield self.within.Iallgatherv(own, [x, (counts, None)])

    def _between(self, rows: Array, total: Array) -> Requests:
        """Put the sum over the nodes of the rows of their subtrees into `total`."""
        count = self._nodes.count
        cuts = [slice_of(total, count, k).size for k in range(count)]
        pieces = np.split(rows, np.cumsum(cuts)[:-1], axis=1)
        outgoing = np.concatenate([piece.reshape(-1) for piece in pieces])
        trees = [len(self._nodes.subtrees(k)) for k in range(count)]
        incoming = np.empty((sum(trees), cuts[self._node]), rows.dtype)
        sent, received = [len(rows) * n for n in cuts], [n * cuts[self._node] for n in trees]
        yield self.between.Ialltoallv([outgoing, (sent, None)], [incoming, (received, None)])
        yield self.between.Iallgatherv(self._nodes.add_all(incoming), [total, (cuts, None)])
