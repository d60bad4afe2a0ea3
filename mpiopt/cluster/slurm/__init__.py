"""Batch scripts for Slurm: templates, the command that fills and submits them, and their decision to requeue."""
