"""Sums of the rows' gradients by cluster, where the rows of a cluster may lie on several ranks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.inference.rows import WeightedRows, outer_rows

Matrix = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Clusters:
    """The clusters of this rank's rows."""

    code: Codes  # (n,) a number below `count` for each row; equal on all ranks for the same label
    count: int  # over all ranks


def coded(labels: NDArray[Any], comm: Comm) -> Clusters:
    """Number the labels of all ranks; collective.

    Raises
    ------
    ValueError
        If there are fewer than two clusters.
    """
    mine, number = np.unique(labels, return_inverse=True)
    text = np.frombuffer(json.dumps([str(label) for label in mine.tolist()]).encode(), np.uint8)
    every = [json.loads(part.tobytes()) for part in comm.allgather(text.copy())]
    place = {label: k for k, label in enumerate(sorted({label for part in every for label in part}))}
    if len(place) < 2:
        raise ValueError("all rows are in one cluster; clustered standard errors need at least two")
    code = np.array([place[str(label)] for label in mine.tolist()], np.int64)
    return Clusters(code[number.reshape(-1)], len(place))


def cluster_squares(rows: WeightedRows, clusters: Clusters) -> Matrix:
    """Return Σ_c g_c g_cᵀ with g_c the sum of the gradients in cluster c, (outputs · used, same); collective.

    Each rank sums its own rows, sends a cluster's sum to the rank that owns the cluster, and adds what it receives.
    """
    comm, width = rows.channel.comm, rows.objective.outputs * rows.used
    here, number = np.unique(clusters.code, return_inverse=True)
    sums = np.zeros((len(here), width))
    for block in rows.blocks():
        slopes = rows.slopes[block.rows] * rows.weight[block.rows, None]
        np.add.at(sums, number[block.rows], outer_rows(slopes, block.x))
    owner = here * comm.size // clusters.count
    ends = np.searchsorted(owner, np.arange(1, comm.size))
    codes = np.concatenate(comm.alltoall(np.split(here, ends)))
    parts = np.concatenate(comm.alltoall(np.split(sums, ends))).reshape(-1, width)
    owned, number = np.unique(codes, return_inverse=True)
    whole = np.zeros((len(owned), width))
    np.add.at(whole, number, parts)
    share = whole.T @ whole
    return rows.channel.sum(share).reshape(share.shape)
