"""Directed graphs of ranks, mixing weights, and finite-time consensus."""
