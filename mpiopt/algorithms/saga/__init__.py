"""Distributed SAGA."""
