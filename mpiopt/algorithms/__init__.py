"""The algorithms and what they share: preconditioner, warm start, cost model."""
