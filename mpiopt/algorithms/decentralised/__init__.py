"""Algorithms in which each rank sends only to its neighbours on a graph."""
