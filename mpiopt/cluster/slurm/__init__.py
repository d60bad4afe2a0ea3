"""Slurm: scripts from templates, what its queue says, and runs seen from outside."""
