"""Coordinators: protocols that compute sums along a graph."""
