"""The family of backlog rules."""
