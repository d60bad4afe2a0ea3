"""The family of penalties."""
