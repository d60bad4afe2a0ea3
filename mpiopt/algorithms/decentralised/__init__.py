"""Algorithms whose ranks talk to neighbours on a graph."""
