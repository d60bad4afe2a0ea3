"""Algorithms for comparison only."""
