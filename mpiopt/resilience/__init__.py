"""Checkpoints, recovery, replicas, signals and deadlines: what lets a run outlive failures."""
