"""Result files and checkpoints; with the readers under `datasets/` the only code that knows h5py."""

from mpiopt.fitted import Fitted
from mpiopt.hdf5.background import BackgroundCheckpoints
from mpiopt.hdf5.checkpoints import Checkpoints, Loaded, first_since
from mpiopt.hdf5.contents import Contents, contents, read_head
from mpiopt.hdf5.head import Head
from mpiopt.hdf5.results import Costs, Result, read_result, write_result
from mpiopt.provenance import Provenance
from mpiopt.shared import check_writable

__all__ = [
    "BackgroundCheckpoints",
    "Checkpoints",
    "Contents",
    "Costs",
    "Fitted",
    "Head",
    "Loaded",
    "Provenance",
    "Result",
    "check_writable",
    "contents",
    "first_since",
    "read_head",
    "read_result",
    "write_result",
]
