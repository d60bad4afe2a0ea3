"""Result files and checkpoints; with the readers under `datasets/` the only code that knows h5py."""

from mpiopt.hdf5.checkpoints import Checkpoints, Loaded
from mpiopt.hdf5.files import check_writable

__all__ = ["Checkpoints", "Loaded", "check_writable"]
