"""The training run: from a job or arrays to a certified model."""
