"""The family of graphs."""
