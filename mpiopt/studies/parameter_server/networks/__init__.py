"""The family of networks."""
