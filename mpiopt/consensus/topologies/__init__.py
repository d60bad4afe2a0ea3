"""Topologies: which rank sends to which."""
