"""Launching, Slurm, sweeps, status, halting and planning."""
