"""Checkpoints in HDF5."""
