"""The family of step-size rules."""
