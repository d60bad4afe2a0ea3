"""Losses, penalties, passes over the rows, curvature, the duality gap and metrics."""
